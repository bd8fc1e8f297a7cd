"""The methods that nmc is compared with have the errors that their authors published."""

import numpy as np
import pytest

from nmc.pwl import function_named
from nmc.quant.formats import TensorRange
from tests.bench import methods

SPAN = TensorRange(-8.0, 8.0)


@pytest.mark.parametrize(
    ("method", "name", "low", "high", "published"),
    [
        (methods.of_gqa_lut, "gelu", -4.0, 4.0, 0.0242),
        (methods.of_gqa_lut, "exp", -8.0, 0.0, 0.0126),
        (methods.of_i_bert, "gelu", -4.0, 4.0, 0.0182),
    ],
)
def test_a_method_has_its_published_error(method, name, low, high, published) -> None:
    x = np.linspace(low, high, 100_001)
    function = function_named(name)
    error = np.abs(method(function, SPAN)(x) - function(x)).max()
    # published figures are rounded to their last digit, and were taken on other grids
    assert error == pytest.approx(published, abs=0.0002)


def test_a_trained_network_is_a_table_of_its_entries() -> None:
    function = function_named("gelu")
    x = np.linspace(-5.0, 5.0, 2001)
    error = np.abs(methods.of_nn_lut(function, SPAN)(x) - function(x))
    # NN-LUT's paper shows errors of the order of a hundredth with 16 entries
    assert error.max() < 0.03


def test_masked_positions_get_no_share_of_a_pruned_softmax() -> None:
    masked = np.array([-1e9, -6.0])
    for method in (methods.with_two_quad, methods.with_relu_attention):
        assert not method(function_named("exp"), SPAN)(masked).any()
