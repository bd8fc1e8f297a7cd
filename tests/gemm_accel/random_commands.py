"""Random commands with any value that their fields can hold."""

from dataclasses import fields
from typing import Any

from hypothesis import strategies as st

from targets.gemm_accel import isa
from targets.gemm_accel.encoding import ENUMERATIONS, group_type

RANGES = {
    "u8": (0, 2**8 - 1), "u16": (0, 2**16 - 1), "u32": (0, 2**32 - 1), "i32": (-(2**31), 2**31 - 1),
    "i64": (-(2**63), 2**63 - 1),
}  # fmt: skip


def any_of(cls: type) -> st.SearchStrategy[Any]:
    """A strategy for a command or a group of fields."""
    return st.builds(cls, **{each.name: _values(each) for each in fields(cls)})


def _values(each: Any) -> st.SearchStrategy[Any]:
    kind, count = each.metadata["kind"], each.metadata["count"]
    if kind == "group":
        return any_of(group_type(each))
    if each.name in ENUMERATIONS:
        return st.sampled_from(list(ENUMERATIONS[each.name]))
    low, high = RANGES[kind]
    number = st.integers(low, high) | st.sampled_from([low, high])
    return number if count == 1 else st.tuples(*[number] * count)


COMMANDS = st.one_of(*(any_of(cls) for cls in isa.COMMANDS.values()))
