"""A convolution, from its windows to its stored results, as a person reads it in the listing.

`NMC_UPDATE_GOLDEN=1 pytest tests/gemm_accel/codegen/test_listing.py` writes the golden files anew.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tvm import relax

from passes.matrix_form.im2col import Window
from passes.rewrite import Emitter
from targets.gemm_accel.assembler import assemble
from targets.gemm_accel.config import AcceleratorConfig
from targets.gemm_accel.encoding import encode
from tests.gemm_accel.codegen.support import Draw, Parameter, compiled, function_of

GOLDEN = Path(__file__).parent / "golden"
PARAMETERS: list[Parameter] = [((1, 4, 4, 4), "int16")]


def _convolution(emitter: Emitter, p: Sequence[relax.Expr]) -> relax.Expr:
    """3×3 with padding over a channels-last image, then a table."""
    draw, emit = Draw(emitter, np.random.default_rng(0)), emitter.emit
    emitter.layer = "conv"
    image = emit(relax.op.permute_dims(p[0], [0, 3, 1, 2]))
    matrix = draw.im2col(image, Window((3, 3), (1, 1), (1, 1), (1, 1), (1, 1)))
    product = draw.gemm(matrix, draw.constant((1, 36, 8), "int16"), "int16")
    emitter.layer = "activation"
    return emit(relax.op.reshape(draw.pwl(product, "int16"), [1, 4, 4, 8]))


def _depthwise(emitter: Emitter, p: Sequence[relax.Expr]) -> relax.Expr:
    """3×3 a channel, with stride 2."""
    draw, emit = Draw(emitter, np.random.default_rng(0)), emitter.emit
    emitter.layer = "depthwise"
    image = emit(relax.op.permute_dims(p[0], [0, 3, 1, 2]))
    matrix = draw.im2col(image, Window((3, 3), (2, 2), (1, 1), (1, 1), (0, 0), 4))
    product = draw.gemm(matrix, draw.constant((4, 9, 1), "int16"), "int16")
    return emit(relax.op.permute_dims(product, [1, 0, 2]))


@pytest.mark.parametrize("body", [_convolution, _depthwise], ids=["convolution", "depthwise"])
def test_the_listing_of_a_convolution(body) -> None:
    region = compiled(function_of(PARAMETERS, body), AcceleratorConfig())
    text = region.program.listing()
    path = GOLDEN / f"{body.__name__.strip('_')}.txt"
    if os.environ.get("NMC_UPDATE_GOLDEN"):
        path.write_text(text)
    assert path.is_file(), f"{path} is missing; write it with NMC_UPDATE_GOLDEN=1"
    assert text == path.read_text(), f"{path} differs; review it with NMC_UPDATE_GOLDEN=1"


def test_a_listing_assembles_to_the_bytes_of_its_program() -> None:
    region = compiled(function_of(PARAMETERS, _convolution), AcceleratorConfig())
    commands, _ = assemble(region.program.listing())
    assert encode(commands) == encode(region.program.commands)
