"""Runs every benchmark: `python -m tests.bench`."""

from tests.bench import architectures, comparisons, cycles, fidelity, granularity, real_models, relu_cost

BENCHMARKS = (
    cycles.main,
    real_models.main,
    fidelity.main,
    granularity.main,
    comparisons.main,
    relu_cost.main,
    architectures.main,
)

if __name__ == "__main__":
    for benchmark in BENCHMARKS:
        benchmark()
