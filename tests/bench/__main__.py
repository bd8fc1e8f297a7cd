"""Runs every benchmark, then writes the report of accuracy: `python -m tests.bench`."""

from tests.bench import (
    architectures,
    comparisons,
    compile_speed,
    cycles,
    fidelity,
    granularity,
    relu_cost,
    report,
    tables,
)

BENCHMARKS = (
    cycles.main,
    compile_speed.main,
    tables.main,
    fidelity.main,
    granularity.main,
    comparisons.main,
    relu_cost.main,
    architectures.main,
    report.main,
)

if __name__ == "__main__":
    for benchmark in BENCHMARKS:
        benchmark()
