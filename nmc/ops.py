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
    from nmc.options import Options

STORED_TABLE = Path(__file__).with_name("operators.json")

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
    reasons: dict[str, list[str]] = {}
    for item in compilation.fallback:
        reasons.setdefault(item.layer, []).append(f"{item.operator}: {item.reason}")
    rows = []
    for operator, names in layers.items():
        kinds = Counter(kind for name in names for kind in operations.get(name, ()))
        why = tuple(dict.fromkeys(reason for name in names for reason in reasons.get(name, ())))
        rows.append(
            OperatorRow(
                operator=operator,
                count=len(names),
                runs_on=_place(kinds.total(), sum(len(reasons.get(name, ())) for name in names)),
                operations=tuple(sorted(kinds)),
                macs=sum(macs.get(name, 0) for name in names),
                reasons=why,
            )
        )
    return tuple(sorted(rows, key=lambda row: (-row.macs, row.operator)))


def _layers_by_operator(compilation: "Compilation") -> dict[str, list[str]]:
    layers: dict[str, list[str]] = {}
    for node in compilation.imported.canonical.graph.node:
        operator = f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type
        layers.setdefault(operator, []).append(node.name)
    return layers


def _operations_by_layer(compilation: "Compilation") -> tuple[Mapping[str, Sequence[str]], Mapping[str, int]]:
    """For each layer of level 3, the kinds of its operations and its multiply-adds."""
    from nmc.macs import macs_of
    from passes.matrix_form.host import DEQUANTISE, QUANTISE
    from passes.rewrite import bindings_of, callee_name, layer_of

    module = compilation.levels["quantised"]
    operations: dict[str, list[str]] = {}
    macs: Counter[str] = Counter()
    for binding in bindings_of(module["main"]):
        name = callee_name(module, binding.value) if hasattr(binding.value, "op") else ""
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

    texts = table(("operator",), ("count", "MACs"), ("runs on", "as", "why"))
    for row in report.rows:
        macs = count_text(row.macs) if row.macs else ""
        operations, reasons = ", ".join(row.operations), "; ".join(row.reasons)
        texts.add_row(row.operator, str(row.count), macs, row.runs_on, operations, reasons)
    screen = console()
    screen.print(f"{report.title}\n")
    screen.print(texts)
