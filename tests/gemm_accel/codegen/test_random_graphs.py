"""Random graphs of composites and moves: fused, forwarded and planned together, still equal to their
bodies."""

import pytest

from targets.gemm_accel.config import AcceleratorConfig
from tests.gemm_accel.codegen.support import SMALL, assert_equal_to_bodies, random_graph


@pytest.mark.parametrize("seed", range(12))
def test_a_random_graph_computes_what_its_bodies_compute(seed: int) -> None:
    parameters, body = random_graph(seed, operations=7)
    assert_equal_to_bodies(parameters, body, SMALL if seed % 2 else AcceleratorConfig())
