"""Writes operators.json: what the compiler makes of the ONNX project's test cases, a row an operator."""

import json
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases

from nmc.compiler import compile_model
from nmc.errors import NmcError
from nmc.files import write_atomically
from nmc.ops import REFUSED, STORED_TABLE, OperatorReport, OperatorRow, rows_of
from nmc.options import Options

TITLE = "Operators of the ONNX standard: what becomes of the ONNX project's test case of each"

LARGEST_CASE_BYTES = 1 << 20
"""Larger test cases take long and show nothing that a small one does not."""


def survey() -> OperatorReport:
    """Compiles one test case of each operator; rows by the operator's name, `count` 1."""
    rows = [_row(operator, cases) for operator, cases in sorted(_cases_by_operator().items())]
    return OperatorReport(TITLE, tuple(rows))


def _cases_by_operator() -> dict[str, list[Any]]:
    """The test cases of each operator of the standard's own domain, the smallest first, in a fixed order."""
    cases: dict[str, list[Any]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for case in collect_testcases(None):
            nodes = case.model.graph.node
            if len(nodes) == 1 and nodes[0].domain == "" and case.model.ByteSize() <= LARGEST_CASE_BYTES:
                cases.setdefault(nodes[0].op_type, []).append(case)
    return {
        operator: sorted(group, key=lambda case: (len(case.name), case.name))
        for operator, group in cases.items()
    }


def _row(operator: str, cases: Iterable[Any]) -> OperatorRow:
    """The first case that compiles says where the operator runs; otherwise the first says why it does not."""
    refusal = ""
    for case in cases:
        try:
            compilation = compile_model(case.model, _options(case))
        except NmcError as error:
            refusal = refusal or str(error)
            continue
        rows = [row for row in rows_of(compilation) if row.operator == operator]
        return rows[0] if rows else OperatorRow(operator, 1, "folded", (), 0, ())
    return OperatorRow(operator, 1, REFUSED, (), 0, (refusal,))


def _options(case: Any) -> Options:
    """Calibrates on the case's own data, and binds what is not float: axes, shapes and repeats."""
    arrays = _arrays(case)
    constants = {name: array for name, array in arrays.items() if array.dtype.kind != "f"}
    floats = {name: array[None] for name, array in arrays.items() if array.dtype.kind == "f"}
    return Options(target="cpu", binds=constants if floats else {}, calibration=floats or None)


def _arrays(case: Any) -> Mapping[str, np.ndarray]:
    inputs, _ = case.data_sets[0]
    names = [value.name for value in case.model.graph.input]
    return {
        name: numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)
        for name, value in zip(names, inputs, strict=False)
        if isinstance(value, onnx.TensorProto | np.ndarray)
    }


if __name__ == "__main__":
    write_atomically(STORED_TABLE, (json.dumps(survey().to_json(), indent=1) + "\n").encode())
