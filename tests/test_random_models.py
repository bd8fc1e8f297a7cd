"""Random models: all levels against the ONNX reference evaluator and each other."""

import warnings
from collections.abc import Sequence

import numpy as np
import tvm
from hypothesis import HealthCheck, Phase, given, settings

from nmc.backend import Prepared
from nmc.error_bound import error_bounds
from nmc.manifest import Fallback
from targets.cpu import build
from tests.random_models import RandomModel, random_models

QUICK = tvm.target.Target({"kind": "llvm", "opt-level": 0})
"""Builds in half the time; what it computes is the same."""

FLOAT_ROUNDING = 2e-5
"""What a handful of float32 operations may differ by in another order, as a part of the largest value."""

HALF_ROUNDING = 2.0**-11
"""What an output loses when it is rounded to float16, as a part of itself."""


def check_all_levels(random_model: RandomModel) -> Sequence[Fallback]:
    """Level 1 is the reference's; 3 and 4 are equal in every bit, and within their bound of the reference.

    Returns what runs on the CPU; if anything of that reads floats, there is no bound to check.
    """
    inputs = list(random_model.inputs.values())
    prepared = Prepared(random_model.model, {"target": "gemm-accel"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        accelerator = prepared.run(inputs)
    compilation = prepared.compilation
    assert compilation is not None
    relax, integers = (
        build(compilation.levels[level], QUICK).run(inputs) for level in ("relax", "quantised")
    )
    for wanted, float_result in zip(random_model.expected, relax, strict=True):
        scale = max(1.0, float(np.abs(wanted).max()))
        np.testing.assert_allclose(float_result, wanted, rtol=0, atol=FLOAT_ROUNDING * scale)
    for integer, simulated in zip(integers, accelerator, strict=True):
        np.testing.assert_array_equal(simulated, integer.astype(simulated.dtype))
    if any(item.touches_floats for item in compilation.fallback):
        return compilation.fallback
    for wanted, simulated, bound in zip(
        random_model.expected, accelerator, error_bounds(compilation, inputs), strict=True
    ):
        unit = FLOAT_ROUNDING + (HALF_ROUNDING if simulated.dtype == np.float16 else 0.0)
        rounding = unit * max(1.0, float(np.abs(wanted).max()))
        excess = np.abs(simulated.astype(np.float64) - wanted) - bound - rounding
        assert excess.max() <= 0.0, f"off by {excess.max():.3g} more than its bound"
    return compilation.fallback


@settings(
    max_examples=8,
    derandomize=True,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(random_models())
def test_random_models_agree_at_every_level(random_model: RandomModel) -> None:
    check_all_levels(random_model)
