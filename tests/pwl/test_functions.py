"""The functions against their definitions in Python's math, and what their rules promise."""

import math

import numpy as np
import pytest

from nmc.pwl import RULES, TableError, function_named


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def gelu(x: float) -> float:
    return x * 0.5 * math.erfc(-x / math.sqrt(2))


def keys_kernel(x: float, a: float = -0.75) -> float:
    """Keys 1981, equation 4, spelled out."""
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


DEFINITIONS = {
    "identity": lambda x: x,
    "relu": lambda x: max(x, 0.0),
    "leaky_relu": lambda x: x if x > 0 else 0.01 * x,
    "relu6": lambda x: min(max(x, 0.0), 6.0),
    "clip": lambda x: x,
    "abs": abs,
    "hard_sigmoid": lambda x: min(max(0.2 * x + 0.5, 0.0), 1.0),
    "hard_tanh": lambda x: min(max(x, -1.0), 1.0),
    "hard_swish": lambda x: x * min(max(x + 3, 0.0), 6.0) / 6,
    "sign": lambda x: (x > 0) - (x < 0),
    "greater": lambda x: x > 0,
    "greater_equal": lambda x: x >= 0,
    "less": lambda x: x < 0,
    "less_equal": lambda x: x <= 0,
    "equal": lambda x: x == 0,
    "not_equal": lambda x: x != 0,
    "floor": math.floor,
    "ceil": math.ceil,
    "round": round,
    "hat": lambda x: max(1 - abs(x), 0.0),
    "cubic_kernel": lambda x: keys_kernel(abs(x)),
    "mirror": lambda x: abs(x - 2 * round(x / 2)),
    "thresholded_relu": lambda x: x if x > 1 else 0.0,
    "shrink": lambda x: x if abs(x) > 0.5 else 0.0,
    "sigmoid": sigmoid,
    "log_sigmoid": lambda x: math.log(sigmoid(x)),
    "tanh": math.tanh,
    "erf": math.erf,
    "gelu": gelu,
    "gelu_tanh": lambda x: 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "quick_gelu": lambda x: x * sigmoid(1.702 * x),
    "silu": lambda x: x * sigmoid(x),
    "swish": lambda x: x * sigmoid(x),
    "mish": lambda x: x * math.tanh(math.log1p(math.exp(x))),
    "softplus": lambda x: math.log1p(math.exp(x)),
    "softsign": lambda x: x / (1 + abs(x)),
    "elu": lambda x: x if x > 0 else math.exp(x) - 1,
    "celu": lambda x: x if x > 0 else math.exp(x) - 1,
    "selu": lambda x: 1.05070102214813232 * (x if x > 0 else 1.67326319217681885 * (math.exp(x) - 1)),
    "exp": math.exp,
    "expm1": math.expm1,
    "log": math.log,
    "log1p": math.log1p,
    "square": lambda x: x * x,
    "sqrt": math.sqrt,
    "rsqrt": lambda x: 1 / math.sqrt(x),
    "reciprocal": lambda x: 1 / x,
    "pow": lambda x: x**2,
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "asin": math.asin,
    "acos": math.acos,
    "atan": math.atan,
    "sinh": math.sinh,
    "cosh": math.cosh,
    "asinh": math.asinh,
    "acosh": math.acosh,
    "atanh": math.atanh,
}


def test_every_function_has_a_definition_to_compare_with() -> None:
    assert set(DEFINITIONS) == set(RULES)


@pytest.mark.parametrize("name", sorted(RULES))
def test_a_function_computes_its_definition(name: str) -> None:
    function = function_named(name)
    # An odd number of points holds the middle, where most functions have their corner.
    x = np.linspace(*function.usual_range, 1001)
    expected = np.array([DEFINITIONS[name](value) for value in x.tolist()])
    # Both sides round a handful of operations on values up to 30; erfc is good to the last bits.
    np.testing.assert_allclose(function(x), expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize(
    ("name", "params", "x", "expected"),
    [
        ("leaky_relu", {"alpha": 0.25}, -4.0, -1.0),
        ("clip", {"lo": -1.0, "hi": 2.0}, 9.0, 2.0),
        ("clip", {"hi": 2.0}, -1e30, -1e30),
        ("clip", {"lo": 3.0, "hi": 2.0}, 0.0, 2.0),
        ("clip", {"lo": -3.4028235e38, "hi": 3.4028235e38}, -1e30, -1e30),
        ("hard_sigmoid", {"alpha": -1.0, "beta": 0.5}, 0.25, 0.25),
        ("hard_sigmoid", {"alpha": 0.0, "beta": 0.5}, 100.0, 0.5),
        ("thresholded_relu", {"alpha": 2.0}, 2.0, 0.0),
        ("shrink", {"lambd": 1.0, "bias": 0.5}, 1.0, 0.0),
        ("shrink", {"lambd": 1.0, "bias": 0.5}, -2.0, -1.5),
        ("mirror", {"low": -1.0, "high": 2.0}, 2.5, 1.5),
        ("mirror", {"low": -1.0, "high": 2.0, "phase": 4.0}, -7.5, 1.5),
        ("mirror", {"low": -1.0, "high": 2.0, "lowest": -0.5, "highest": 0.5}, 70.0, 2.0),
        ("sign", {}, 0.0, 0.0),
        ("elu", {"alpha": 2.0}, -1.0, 2 * math.expm1(-1)),
        ("celu", {"alpha": 2.0}, -1.0, 2 * math.expm1(-0.5)),
        ("swish", {"alpha": 0.0}, 3.0, 1.5),
        ("rsqrt", {"eps": 1.0}, 3.0, 0.5),
        ("pow", {"exponent": -0.5}, 4.0, 0.5),
        ("pow", {"exponent": 3.0}, -2.0, -8.0),
    ],
)
def test_parameters_mean_what_onnx_means_by_them(
    name: str, params: dict[str, float], x: float, expected: float
) -> None:
    assert float(function_named(name, params)(x)) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize(
    ("name", "bound"),
    [("relu6", 6.0), ("hard_tanh", 1.0), ("mirror", 1.0), ("relu", np.inf), ("sin", np.inf)],
)
def test_pieces_with_flat_ends_have_a_bound(name: str, bound: float) -> None:
    assert function_named(name).bound == bound


@pytest.mark.parametrize("name", sorted(name for name in RULES if any(function_named(name).tails)))
def test_a_function_approaches_its_tails(name: str) -> None:
    function = function_named(name)
    for tail, side in zip(function.tails, (-1.0, 1.0), strict=True):
        if tail is not None:
            far, farther = (
                abs(float(function(side * x)) - tail[0] * side * x - tail[1]) for x in (50.0, 5000.0)
            )
            # Exponential tails are gone at 50; the algebraic ones of atan and softsign go like 1 / x.
            assert far <= 1 / 50 and farther <= 1 / 5000


def test_outside_its_domain_a_function_is_not_finite_and_does_not_warn() -> None:
    assert not np.isfinite(function_named("log")(np.array([-1.0, 0.0]))).any()
    assert not np.isfinite(function_named("reciprocal")(0.0))


def test_an_unknown_function_is_refused_with_the_known_ones() -> None:
    with pytest.raises(TableError, match=r"no function 'gleu'; the known ones are abs, .*gelu"):
        function_named("gleu")


def test_an_unknown_parameter_is_refused_with_the_known_ones() -> None:
    with pytest.raises(TableError, match="elu has no parameter 'beta'; it takes alpha"):
        function_named("elu", {"beta": 1.0})


def test_a_name_shows_only_unusual_parameters() -> None:
    assert str(function_named("elu")) == "elu"
    assert str(function_named("elu", {"alpha": 0.5})) == "elu(alpha=0.5)"
