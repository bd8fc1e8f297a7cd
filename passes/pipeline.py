"""The order of the lowering passes: level 1 to matrix form with exact functions."""

from collections.abc import Sequence

from tvm import ir


def lowering_passes() -> Sequence[ir.transform.Pass]:
    """The passes in order; each is a module pass and can stand in a tvm.transform.Sequential."""
    return []
