"""Runs every benchmark: `python -m tests.bench`."""

from tests.bench import fidelity, real_models

BENCHMARKS = (real_models.main, fidelity.main)

if __name__ == "__main__":
    for benchmark in BENCHMARKS:
        benchmark()
