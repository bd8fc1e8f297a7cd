"""Runs every benchmark: `python -m tests.bench`."""

from tests.bench import cycles, fidelity, real_models

BENCHMARKS = (cycles.main, real_models.main, fidelity.main)

if __name__ == "__main__":
    for benchmark in BENCHMARKS:
        benchmark()
