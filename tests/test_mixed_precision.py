"""`--bits auto` keeps at 16 bits what would cost too much, and no more."""

import numpy as np
import pytest
from tvm import relax

from nmc.mixed_precision import choose_products, loss
from nmc.narrowing import narrow_products
from nmc.operand_statistics import OperandStatistics
from passes.rewrite import Emitter
from targets.cpu import interpret
from tests.passes.support import build_module, constant

SENSITIVE, ROBUST = "y", "y#1"


@pytest.fixture
def trial():
    """A sum of two products, of which the first reads one huge value that leaves the others no 8-bit steps."""
    generator = np.random.default_rng(8)
    first, second = (generator.standard_normal((1, 16, 8)).astype(np.float32) for _ in range(2))
    first[0, 0] = 0.0

    def body(emitter: Emitter, x: relax.Var, y: relax.Var) -> relax.Expr:
        a = emitter.emit(relax.op.matmul(x, constant(first)))
        return relax.op.add(a, emitter.emit(relax.op.matmul(y, constant(second))))

    module = build_module(body, (1, 4, 16), (1, 4, 16))
    samples = [[generator.standard_normal((1, 4, 16)).astype(np.float32) for _ in range(2)]]
    samples[0][0][0, :, 0] = 500.0
    statistics = OperandStatistics(module)
    interpret(module).run(samples[0], statistics.observe)
    return module, narrow_products(module, statistics, "min-max"), samples


def test_only_the_sensitive_product_keeps_16_bits(trial) -> None:
    module, plans, samples = trial
    assert set(plans) == {SENSITIVE, ROBUST}
    assert set(choose_products(module, plans, samples, max_loss=0.002)) == {ROBUST}


def test_all_products_are_narrow_when_any_loss_is_allowed(trial) -> None:
    module, plans, samples = trial
    assert set(choose_products(module, plans, samples, max_loss=1.0)) == set(plans)


def test_none_is_narrow_when_next_to_nothing_may_be_lost(trial) -> None:
    module, plans, samples = trial
    assert choose_products(module, plans, samples, max_loss=1e-9) == {}


def test_the_loss_is_that_of_the_worst_output() -> None:
    same, turned = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    assert loss([same, same], [same, turned]) == 1.0
    assert loss([same, np.array([1, 2])], [2 * same, np.array([3, 4])]) == 0.0
