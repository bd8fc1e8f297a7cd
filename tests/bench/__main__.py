"""Runs every benchmark: `python -m tests.bench`."""

from tests.bench import real_models

BENCHMARKS = (real_models.main,)

if __name__ == "__main__":
    for benchmark in BENCHMARKS:
        benchmark()
