"""Writes operators.json: what the compiler makes of the ONNX project's test cases, a row an operator."""

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.backend.test.case.node import collect_testcases

from nmc.compiler import compile_model
from nmc.errors import NmcError
from nmc.files import write_atomically
from nmc.frontend.low_precision import CARRIERS
from nmc.ops import FOLDED, MIXED, REFUSED, STANDARD, STORED_TABLE, OperatorReport, OperatorRow, rows_of
from nmc.options import Options

TEXT_KINDS = "OSU"
"""Kinds of numpy arrays that hold text, which no constant of a network is."""

LOW_PRECISION = frozenset(helper.np_dtype_to_tensor_dtype(np.dtype(name)) for name in CARRIERS)
"""Element types that few networks have: other cases say more of an operator."""

LARGEST_CASE_BYTES = 1 << 20
"""Larger test cases take long and show nothing that a small one does not."""


def survey() -> OperatorReport:
    """Compiles one test case of each operator; rows by the operator's name, `count` 1."""
    rows = [_row(operator, cases) for operator, cases in sorted(_cases_by_operator().items())]
    return OperatorReport(STANDARD, tuple(rows))


def _cases_by_operator() -> dict[str, list[Any]]:
    """The test cases of each operator of the standard's domain, in a fixed order: float and short first."""
    cases: dict[str, list[Any]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for case in collect_testcases(None):
            model = case.model
            if model is None or len(model.graph.node) != 1 or model.ByteSize() > LARGEST_CASE_BYTES:
                continue
            if model.graph.node[0].domain == "":
                cases.setdefault(model.graph.node[0].op_type, []).append(case)
    return {operator: sorted(group, key=_preference) for operator, group in cases.items()}


def _preference(case: Any) -> tuple[bool, bool, int, str]:
    first = next(iter(_arrays(case).values()), None)
    values = [*case.model.graph.input, *case.model.graph.output]
    low = any(value.type.tensor_type.elem_type in LOW_PRECISION for value in values)
    return first is None or first.dtype != np.float32, low, len(case.name), case.name


def _row(operator: str, cases: Iterable[Any]) -> OperatorRow:
    """The first case that compiles says where the operator runs; otherwise the first says why it does not."""
    refusal = ""
    for case in cases:
        for options in _options(case):
            try:
                return _merged(operator, rows_of(compile_model(case.model, options)))
            except NmcError as error:
                refusal = refusal or str(error)
    return OperatorRow(operator, 1, REFUSED, (), 0, (refusal,))


def _merged(operator: str, rows: Sequence[OperatorRow]) -> OperatorRow:
    """One row of all: an operator that a function defines is several after import."""
    places = {row.runs_on for row in rows} - {FOLDED}
    return OperatorRow(
        operator=operator,
        count=1,
        runs_on=FOLDED if not places else MIXED if len(places) > 1 else places.pop(),
        operations=tuple(sorted({operation for row in rows for operation in row.operations})),
        macs=sum(row.macs for row in rows),
        reasons=tuple(dict.fromkeys(reason for row in rows for reason in row.reasons)),
    )


def _options(case: Any) -> list[Options]:
    """Each input that is not float is bound to its value; if that fails, all but the first are."""
    arrays = _arrays(case)
    return [
        _bound(arrays, [name for name, array in arrays.items() if array.dtype.kind != "f"]),
        _bound(arrays, list(arrays)[1:]),
    ]


def _bound(arrays: Mapping[str, np.ndarray], names: Sequence[str]) -> Options:
    """Calibrates on the case's own data; at least one input is left to compile for."""
    bound = {} if len(names) == len(arrays) else {name: arrays[name] for name in names}
    rest = {name: np.nan_to_num(array)[None] for name, array in arrays.items() if name not in bound}
    return Options(target="cpu", binds=bound, calibration=rest or None)


def _arrays(case: Any) -> Mapping[str, np.ndarray]:
    inputs, _ = case.data_sets[0]
    names = [value.name for value in case.model.graph.input]
    arrays = {
        name: numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)
        for name, value in zip(names, inputs, strict=False)
        if isinstance(value, onnx.TensorProto | np.ndarray | np.generic)
    }
    return {name: array for name, array in arrays.items() if array.dtype.kind not in TEXT_KINDS}


if __name__ == "__main__":
    write_atomically(STORED_TABLE, (json.dumps(survey().to_json(), indent=1) + "\n").encode())
