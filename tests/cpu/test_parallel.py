"""Loop nests that run on all processors."""

import numpy as np
from tvm import relax

from targets.cpu import build
from targets.cpu.parallel import ParallelLoops
from tests.passes.support import build_module, random_array


def _scheduled(*shape: int) -> str:
    module = build_module(lambda emitter, x, y: relax.op.add(x, y), shape, shape)
    return str(ParallelLoops(relax.transform.LegalizeOps()(module)))


def test_a_large_sum_runs_in_parallel_over_as_many_outer_loops_as_make_enough_parts() -> None:
    text = _scheduled(2, 16, 128, 16)
    assert "T.parallel(T.int64(32))" in text
    assert "T.grid(T.int64(128), T.int64(16))" in text


def test_a_small_sum_stays_on_one_processor() -> None:
    assert "T.parallel" not in _scheduled(2, 16, 16)


def test_a_reduction_stays_as_it_is() -> None:
    module = build_module(lambda emitter, x: relax.op.sum(x, [1]), (256, 256))
    legal = relax.transform.LegalizeOps()(module)
    assert str(ParallelLoops(legal)) == str(legal)


def test_a_scatter_which_is_one_opaque_block_stays_as_it_is() -> None:
    shape = (64, 1024)
    module = build_module(
        lambda emitter, x, i, y: relax.op.scatter_elements(x, i, y, axis=0, reduction="add"),
        shape,
        (shape, "int64"),
        shape,
    )
    legal = relax.transform.LegalizeOps()(module)
    assert str(ParallelLoops(legal)) == str(legal)


def test_what_runs_in_parallel_has_the_same_values() -> None:
    shape = (3, 64, 301)
    a, b = random_array(*shape, seed=1), random_array(*shape, seed=2)
    module = build_module(lambda emitter, x, y: relax.op.add(x, y), shape, shape)
    np.testing.assert_array_equal(build(module).run([a, b])[0], a + b)
