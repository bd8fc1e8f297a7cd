"""What runs where, and why: found by compiling, so that it cannot differ from what the compiler does.

The table of all ONNX operators is what the compiler makes of the ONNX project's own test case of each.
It takes a minute, so it is kept in operators.json; `python -m nmc.survey` writes it anew.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx

    from nmc.compiler import Compilation
    from nmc.manifest import Fallback
    from nmc.options import Options

STORED_TABLE = Path(__file__).with_name("operators.json")

STANDARD = "Operators of the ONNX standard: what becomes of the ONNX project's test case of each"
"""Title of the stored table."""

ACCELERATOR, MIXED, CPU, FOLDED, REFUSED = (
    "accelerator",
    "accelerator and CPU",
    "CPU",
    "folded",
    "not supported",
)
"""Where an operator runs. Folded: nothing of it is left after import, as it was constant or moved nothing."""


@dataclass(frozen=True)
class OperatorRow:
    """One ONNX operator: how often a model has it, where it runs, as which operations, and why there."""

    operator: str
    count: int
    runs_on: str
    operations: tuple[str, ...]
    """Kinds of operations of matrix form, and operators of the host, that it becomes."""
    macs: int
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class OperatorReport:
    """Rows for a model, or for all operators of the ONNX standard."""

    title: str
    rows: tuple[OperatorRow, ...]

    def to_json(self) -> dict[str, Any]:
        """The report as plain values."""
        return {"title": self.title, "operators": [asdict(row) for row in self.rows]}


def operator_table() -> OperatorReport:
    """The stored table of the operators of the ONNX standard."""
    stored = json.loads(STORED_TABLE.read_text())
    rows = (
        row | {"operations": tuple(row["operations"]), "reasons": tuple(row["reasons"])}
        for row in stored["operators"]
    )
    return OperatorReport(stored["title"], tuple(OperatorRow(**row) for row in rows))


def model_operators(
    model: "str | Path | onnx.ModelProto",
    options: "Options",
    progress: Callable[[str], None] = lambda step: None,
) -> OperatorReport:
    """The operators of a model, compiled as far as level 3; raises NmcError where it does not compile."""
    from nmc.compiler import compile_model

    compilation = compile_model(model, replace(options, target="cpu"), progress)
    return OperatorReport(compilation.imported.name, rows_of(compilation))


def rows_of(compilation: "Compilation") -> tuple[OperatorRow, ...]:
    """One row for each kind of operator in a compiled model, the most multiply-adds first."""
    layers = _layers_by_operator(compilation)
    operations, macs = _operations_by_layer(compilation)
    owners = compilation.imported.operators
    on_cpu: dict[str, list[Fallback]] = {}
    for item in compilation.fallback:
        on_cpu.setdefault(item.layer, []).append(item)
    rows = []
    for operator, nodes in layers.items():
        # where several nodes have one name, what becomes of them is counted once
        names = [name for name in dict.fromkeys(nodes) if owners[name] == operator.rpartition(".")[2]]
        kinds = Counter(kind for name in names for kind in operations.get(name, ()))
        fallback = [item for name in names for item in on_cpu.get(name, ())]
        rows.append(
            OperatorRow(
                operator=operator,
                count=len(nodes),
                runs_on=_place(kinds.total(), len(fallback)),
                operations=tuple(sorted(kinds)),
                macs=sum(macs.get(name, 0) for name in names),
                reasons=_reasons(fallback),
            )
        )
    return tuple(sorted(rows, key=lambda row: (-row.macs, row.operator)))


def _reasons(fallback: "Sequence[Fallback]") -> tuple[str, ...]:
    """Each reason once, after the operators that it holds for."""
    operators: dict[str, dict[str, None]] = {}
    for item in fallback:
        operators.setdefault(item.reason, {})[item.operator] = None
    return tuple(f"{', '.join(names)}: {reason}" for reason, names in operators.items())


def _layers_by_operator(compilation: "Compilation") -> dict[str, list[str]]:
    layers: dict[str, list[str]] = {}
    for node in compilation.imported.nodes:
        operator = f"{node.domain}.{node.operator}" if node.domain not in ("", "ai.onnx") else node.operator
        layers.setdefault(operator, []).append(node.name)
    return layers


def _operations_by_layer(compilation: "Compilation") -> tuple[Mapping[str, Sequence[str]], Mapping[str, int]]:
    """For each layer of level 3, the kinds of its operations and its multiply-adds."""
    from nmc.macs import macs_of
    from passes.keep_on_host import operator_of
    from passes.matrix_form.host import DEQUANTISE, QUANTISE
    from passes.rewrite import bindings_of, layer_of

    module = compilation.levels["quantised"]
    operations: dict[str, list[str]] = {}
    macs: Counter[str] = Counter()
    for binding in bindings_of(module["main"]):
        name = operator_of(module, binding.value) if hasattr(binding.value, "op") else ""
        if name and name not in (QUANTISE, DEQUANTISE):
            layer = layer_of(binding.var)
            operations.setdefault(layer, []).append(name.rpartition(".")[2])
            macs[layer] += macs_of(module, binding)[1]
    return operations, macs


def _place(operations: int, on_cpu: int) -> str:
    if operations == 0:
        return FOLDED
    if on_cpu == 0:
        return ACCELERATOR
    return CPU if on_cpu == operations else MIXED


def print_operators(report: OperatorReport) -> None:
    """Prints the report as a table on standard output."""
    from nmc.text import console, count_text, table

    # in the table of the standard each operator stands for one small test case
    counted = report.title != STANDARD
    texts = table(("operator",), ("count", "MACs") if counted else (), ("runs on", "as", "why"))
    for row in report.rows:
        numbers = (str(row.count), count_text(row.macs) if row.macs else "") if counted else ()
        texts.add_row(row.operator, *numbers, row.runs_on, ", ".join(row.operations), "; ".join(row.reasons))
    screen = console()
    screen.print(f"{report.title}\n")
    screen.print(texts)
