"""Runs the standard's test-suite on nmc, on both targets, and on TVM's importer alone: `python -m tests.bench.conformance`.

Prints how many cases pass, and those that do not by their reason. `--json FILE` writes every outcome.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench.conformance_cases import Case, Outcome, all_cases

TARGETS = ("tvm", "cpu", "gemm-accel")
CASES_OF_A_WORKER = 60
"""A worker is replaced after so many cases: TVM frees little of what it compiles."""


def main() -> None:
    """Runs the chosen targets and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", choices=TARGETS, action="append", help="all three unless given")
    parser.add_argument("--only", default="", help="a regular expression that names of cases must contain")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    cases = {name: case for name, case in all_cases().items() if re.search(chosen.only, name)}
    found: dict[str, list[Outcome]] = {}
    for target in chosen.target or TARGETS:
        names = [n for n, case in cases.items() if target != "gemm-accel" or case.is_float]
        found[target] = run_all(names, target, chosen.jobs)
    print_report(cases, found)
    if chosen.json:
        chosen.json.write_text(json.dumps({t: [o.__dict__ for o in os] for t, os in found.items()}, indent=1))


def run_all(names: Sequence[str], target: str, jobs: int) -> list[Outcome]:
    """The outcomes of these cases in order, from workers of their own: some cases kill the process they run in."""
    parts = [names[i : i + CASES_OF_A_WORKER] for i in range(0, len(names), CASES_OF_A_WORKER)]
    with ThreadPoolExecutor(jobs) as pool:
        return [outcome for part in pool.map(lambda p: _run_part(p, target), parts) for outcome in part]


def _run_part(names: Sequence[str], target: str) -> list[Outcome]:
    done: list[Outcome] = []
    while len(done) < len(names):
        worker = subprocess.run(
            [sys.executable, "-m", "tests.bench.conformance_cases", target],
            input="\n".join(names[len(done) :]),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "TVM_NUM_THREADS": "1"},
        )
        lines = [line for line in worker.stdout.splitlines() if line.startswith("{")]
        done += [Outcome(**json.loads(line)) for line in lines]
        if len(done) < len(names):
            done.append(
                Outcome(names[len(done)], False, f"crashed: the process ended with {worker.returncode}")
            )
    return done


def print_report(cases: Mapping[str, Case], found: Mapping[str, Sequence[Outcome]]) -> None:
    """Prints the counts by suite and target, then the failures by reason."""
    console = Console(width=150)
    table = Table("suite", "cases", *found, title="cases that pass (with inputs that had to be constants)")
    for suite in dict.fromkeys(case.suite for case in cases.values()):
        for floats in (False, True):
            names = {n for n, c in cases.items() if c.suite == suite and (c.is_float or not floats)}
            label = f"{suite}, float inputs and outputs" if floats else suite
            table.add_row(label, str(len(names)), *(_count(names, outcomes) for outcomes in found.values()))
    console.print(table)
    for target, outcomes in found.items():
        if target == "tvm":
            continue
        reasons = defaultdict(list)
        for outcome in outcomes:
            if not outcome.passed:
                reasons[_kind(outcome.reason)].append(outcome.name.removeprefix("test_"))
        console.print(f"\nWhat fails on {target}:", style="bold")
        for reason, names in sorted(reasons.items(), key=lambda item: -len(item[1])):
            console.print(f"  {len(names):4} {reason}: {', '.join(names)}", highlight=False)


def _count(names: set[str], outcomes: Sequence[Outcome]) -> str:
    ran = [outcome for outcome in outcomes if outcome.name in names]
    passed = [outcome for outcome in ran if outcome.passed]
    if len(ran) < len(names):
        return "-"
    return f"{len(passed)} ({sum(bool(outcome.bound) for outcome in passed)})"


def _kind(reason: str) -> str:
    """A reason without the names and numbers of the one case, so that like ones meet."""
    plain = re.sub(r"'[^']*'", "…", reason)
    return re.sub(r"-?\d[\d.e+-]*", "#", plain)[:110]


if __name__ == "__main__":
    main()
