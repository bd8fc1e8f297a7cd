"""Random models at every level against the ONNX reference evaluator: `python -m tests.bench.random_models 0 2000`.

Model number N is the same on every machine. Each outcome is added to build/bench/random_models.jsonl as soon as it is known,
and a number that stands there is not tried again, so a run can be stopped and several can share the file; `--fresh` tries
again. At the end all outcomes of the numbers asked for are counted: right, refused by reason, and what must not happen.
"""

import argparse
import json
import re
import signal
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import onnx
from rich.console import Console

from nmc.errors import NmcError
from tests.bench.results import DIRECTORY
from tests.random_models import random_model
from tests.test_random_models import check_all_levels

FILE = DIRECTORY / "random_models.jsonl"
RIGHT, PARTLY, REFUSED, WRONG = (
    "right",
    "right but for the bound, floats being read on the CPU",
    "refused",
    "wrong",
)
TRACEBACK, CRASH = "ends in a traceback", "ends the process"
MODELS_A_PROCESS = 100
"""A process is replaced after so many, since compiled code is not given back."""


@dataclass(frozen=True)
class Outcome:
    """What became of model `number`: its kind, the first line that says why, and its operators as `Add@13`."""

    number: int
    kind: str
    reason: str
    operators: tuple[str, ...]


def main() -> None:
    """Checks the models first <= number < last."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("first", type=int, nargs="?", default=0)
    parser.add_argument("last", type=int, nargs="?", default=200)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--fresh", action="store_true", help="try again what the file has")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that no process stays behind
    console, numbers = Console(soft_wrap=True), range(chosen.first, chosen.last)
    known = {} if chosen.fresh else {o.number: o for o in _stored(FILE) if o.number in numbers}
    FILE.parent.mkdir(parents=True, exist_ok=True)
    with FILE.open("a", buffering=1) as file:
        for outcome in _outcomes([n for n in numbers if n not in known], chosen.jobs):
            known[outcome.number] = outcome
            file.write(json.dumps(asdict(outcome)) + "\n")
            if outcome.kind not in (RIGHT, PARTLY):
                console.print(
                    f"{outcome.number} {outcome.kind}: {outcome.reason}", highlight=False, markup=False
                )
    console.print(summary(list(known.values())), highlight=False, markup=False)


def outcome_of(number: int) -> Outcome:
    """Builds a model and checks it at every level."""
    drawn = random_model(number)
    opset = drawn.model.opset_import[0].version
    operators = tuple(f"{node.op_type}@{opset}" for node in drawn.model.graph.node)
    kind, reason = RIGHT, ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            floats = {item.operator for item in check_all_levels(drawn) if item.touches_floats}
            kind, reason = (PARTLY, ", ".join(sorted(floats))) if floats else (RIGHT, "")
        except NmcError as error:
            kind, reason = REFUSED, str(error)
        except AssertionError as error:
            kind, reason = WRONG, " ".join(str(error).split())
        except Exception as error:  # what must not happen is what is looked for
            kind, reason = TRACEBACK, f"{type(error).__name__} {error}".splitlines()[0]
    return Outcome(number, kind, reason, operators)


def summary(outcomes: Sequence[Outcome]) -> str:
    """How many of each kind there are, refusals by reason, and how many operators of the standard took part."""
    kinds = Counter(outcome.kind for outcome in outcomes)
    lines = [
        f"{len(outcomes)} models: " + "; ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    ]
    for kind in (PARTLY, REFUSED):
        reasons = Counter(_general(o.reason) for o in outcomes if o.kind == kind)
        lines += [f"  {kind}, {count}: {reason}" for reason, count in reasons.most_common()]
    used = {name.split("@")[0] for outcome in outcomes for name in outcome.operators}
    standard = {schema.name for schema in onnx.defs.get_all_schemas() if not schema.domain}
    nodes = sum(len(outcome.operators) for outcome in outcomes)
    lines.append(f"{nodes} nodes of {len(used)} operators of the standard's {len(standard)}")
    return "\n".join(lines)


def _general(reason: str) -> str:
    """A reason without the names and numbers of one model."""
    return re.sub(r"-?\d[\d.e+-]*", "N", re.sub(r"'[^']*'", "'…'", reason))


def _outcomes(numbers: Sequence[int], jobs: int) -> Iterator[Outcome]:
    """One outcome a number; those that were under way when a process ended by itself are tried again alone."""
    for start in range(0, len(numbers), MODELS_A_PROCESS * jobs):
        part = list(numbers[start : start + MODELS_A_PROCESS * jobs])
        done: set[int] = set()
        try:
            for outcome in _in_processes(part, jobs):
                done.add(outcome.number)
                yield outcome
        except BrokenProcessPool:
            for number in part:
                if number not in done:
                    yield _alone(number)


def _alone(number: int) -> Outcome:
    try:
        return next(_in_processes([number], 1))
    except BrokenProcessPool:
        return Outcome(number, CRASH, "no Python exception", ())


def _in_processes(numbers: Sequence[int], jobs: int) -> Iterator[Outcome]:
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
    try:
        yield from pool.map(outcome_of, numbers)
    finally:
        pool.shutdown(cancel_futures=True)


def _stored(path: Path) -> list[Outcome]:
    """The outcomes in a file; of a number that was tried again, the last."""
    lines = path.read_text().splitlines() if path.exists() else []
    rows = [json.loads(line) for line in lines]
    return [Outcome(**(row | {"operators": tuple(row["operators"])})) for row in rows]


if __name__ == "__main__":
    main()
