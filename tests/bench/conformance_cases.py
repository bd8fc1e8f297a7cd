"""Runs cases of the standard's test-suite on one target; a worker of `tests.bench.conformance`.

    python -m tests.bench.conformance_cases TARGET <names of cases, one a line

prints one JSON object a case. Targets: `tvm` (TVM's own importer and nothing of nmc), `cpu`, `gemm-accel`.
"""

import json
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tvm
from onnx import numpy_helper
from onnx.backend.test import BackendTest
from onnx.backend.test.case.node import collect_testcases
from onnx.backend.test.loader import load_model_tests
from tvm import relax
from tvm.relax.frontend.onnx import from_onnx

from nmc.backend import AcceleratorBackend, CpuBackend, Prepared
from nmc.data import checked_inputs
from nmc.error_bound import error_bounds
from nmc.errors import NmcError, UnsupportedOperatorError
from nmc.fallback import DOUBLES, UNDEFINED
from nmc.metrics import equal_values

MODEL_SUITES = ("simple", "pytorch-operator", "pytorch-converted")
LOOSEST = 0.05
"""A tolerance beyond this part of an output's largest value proves nothing: such a case does not count as passed."""
FLOATS = (
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.BFLOAT16,
    onnx.TensorProto.DOUBLE,
)

Arrays = Sequence[Any]


@dataclass(frozen=True)
class Case:
    """A model with the results that the standard says."""

    name: str
    suite: str
    model: onnx.ModelProto
    data: Sequence[tuple[Arrays, Arrays]]
    rtol: float
    atol: float

    @property
    def is_float(self) -> bool:
        """Whether some input and every output hold floats."""
        graph = self.model.graph
        return any(map(_holds_floats, graph.input)) and all(map(_holds_floats, graph.output))


@dataclass(frozen=True)
class Outcome:
    """What became of a case: `passed`, or why not, in one line."""

    name: str
    passed: bool
    reason: str = ""
    bound: tuple[str, ...] = ()
    """The inputs that were compiled in as constants."""
    tolerance: float = 0.0
    """On the accelerator: the largest allowed error, as a part of the output's largest value."""
    on_host: tuple[str, ...] = ()
    """On the accelerator: what the CPU ran, and why."""


def all_cases() -> dict[str, Case]:
    """Every case by name: those of single nodes, then those of whole models."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the standard's own generators overflow on purpose
        found = [
            Case(c.name, "node", c.model, [(_plain(i), _plain(o)) for i, o in c.data_sets], c.rtol, c.atol)
            for c in collect_testcases(None)
        ]
    for suite in MODEL_SUITES:
        found += [_stored(suite, Path(c.model_dir), c.rtol, c.atol) for c in load_model_tests(kind=suite)]
    return {case.name: case for case in found}


def _holds_floats(value: onnx.ValueInfoProto) -> bool:
    return value.type.WhichOneof("value") == "tensor_type" and value.type.tensor_type.elem_type in FLOATS


def _plain(values: Arrays) -> Arrays:
    return [numpy_helper.to_array(v) if isinstance(v, onnx.TensorProto) else v for v in values]


def _stored(suite: str, directory: Path, rtol: float, atol: float) -> Case:
    model = onnx.load(directory / "model.onnx")
    data = [
        (_load(folder, "input", model.graph.input), _load(folder, "output", model.graph.output))
        for folder in sorted(directory.glob("test_data_set_*"))
    ]
    return Case(directory.name, suite, model, data, rtol, atol)


def _load(folder: Path, kind: str, declared: Sequence[onnx.ValueInfoProto]) -> Arrays:
    values: list[Any] = []
    for index in range(len(list(folder.glob(f"{kind}_*.pb")))):
        content = (folder / f"{kind}_{index}.pb").read_bytes()
        if declared[index].type.HasField("sequence_type"):
            values.append(numpy_helper.to_list(onnx.SequenceProto.FromString(content)))
        else:
            values.append(numpy_helper.to_array(onnx.TensorProto.FromString(content)))
    return values


def run_case(case: Case, target: str) -> Outcome:
    """Runs all data of a case; an exception of any kind is a failure with its text as the reason."""
    run = {"tvm": _on_tvm, "cpu": _on_cpu, "gemm-accel": _on_accelerator}[target]
    try:
        return run(case)
    except NmcError as error:
        return Outcome(case.name, False, f"refused: {error}")
    except AssertionError as error:
        return Outcome(case.name, False, f"wrong: {' '.join(str(error).split())}")
    except Exception as error:  # TVM raises a different class for every cause
        return Outcome(case.name, False, f"crashed: {type(error).__name__} {' '.join(str(error).split())}")


def _on_tvm(case: Case) -> Outcome:
    for inputs, expected in case.data:
        shapes = {v.name: list(np.shape(x)) for v, x in zip(case.model.graph.input, inputs, strict=False)}
        module = relax.transform.LegalizeOps()(from_onnx(case.model, shapes, keep_params_in_input=False))
        machine = relax.VirtualMachine(relax.build(module, "llvm"), tvm.cpu())
        results = machine["main"](*(tvm.runtime.tensor(np.asarray(array)) for array in inputs))
        outputs = [results] if hasattr(results, "numpy") else list(results)
        BackendTest.assert_similar_outputs(expected, [o.numpy() for o in outputs], case.rtol, case.atol)
    return Outcome(case.name, True)


def _on_cpu(case: Case) -> Outcome:
    bound: tuple[str, ...] = ()
    for inputs, expected in case.data:
        prepared = CpuBackend.prepare(case.model)
        results = prepared.run(inputs)
        assert len(results) == len(expected), f"{len(results)} outputs, not {len(expected)}"
        for result, wanted in zip(results, expected, strict=True):
            # the runner cannot compare scalars among the elements of a sequence, but it can one by one
            BackendTest.assert_similar_outputs(_tensors(wanted), _tensors(result), case.rtol, case.atol)
        bound = prepared.bound
    return Outcome(case.name, True, bound=bound)


def _tensors(value: Any) -> Arrays:
    return value if isinstance(value, list) else [value]


def _on_accelerator(case: Case) -> Outcome:
    """The tolerance of each element is the runner's own and the bound of what integers and tables can cost."""
    bound: tuple[str, ...] = ()
    on_host: tuple[str, ...] = ()
    loosest = 0.0
    for inputs, expected in case.data:
        prepared, results = _run_offloaded(case, inputs)
        for result, wanted, allowed in zip(results, expected, _allowed(prepared, inputs), strict=True):
            assert result.shape == wanted.shape, f"shape {result.shape}, not {wanted.shape}"
            assert result.dtype == wanted.dtype, f"type {result.dtype}, not {wanted.dtype}"
            exact = np.asarray(wanted).astype(np.float64)
            limit = allowed + case.atol + max(case.rtol, _precision(wanted)) * np.abs(exact)
            found = np.asarray(result).astype(np.float64)
            with np.errstate(invalid="ignore"):
                excess = np.where(equal_values(found, exact), 0.0, np.abs(found - exact) - limit)
            assert not excess.size or excess.max() <= 0, f"off by {excess.max():.3g} more than its tolerance"
            largest = np.max(np.abs(exact), where=~np.isnan(exact), initial=0.0)
            if allowed.size and largest > 0:
                loosest = max(loosest, float(allowed.max() / largest))
        bound = prepared.bound
        on_host = tuple(map(str, prepared.compilation.fallback))
    assert loosest <= LOOSEST, f"its tolerance is {loosest:.2g} of its largest value, which proves nothing"
    return Outcome(case.name, True, bound=bound, tolerance=loosest, on_host=on_host)


def _run_offloaded(case: Case, inputs: Arrays) -> tuple[Prepared, Arrays]:
    """The results with nothing left to the CPU but, of whole models, what no integers stand for."""
    prepared = AcceleratorBackend.prepare(case.model)
    try:
        return prepared, prepared.run(inputs)
    except UnsupportedOperatorError:
        if case.suite == "node":
            raise
        relaxed = AcceleratorBackend.prepare(case.model, require_full_offload=False)
        results = relaxed.run(inputs)
        assert relaxed.compilation is not None
        if any(item.reason not in (UNDEFINED, DOUBLES) for item in relaxed.compilation.fallback):
            raise
        return relaxed, results


def _precision(wanted: np.ndarray) -> float:
    """Two units in the last place of what the case's own result was rounded to."""
    return {"float16": 2.0**-9, "bfloat16": 2.0**-6}.get(wanted.dtype.name, 0.0)


def _allowed(prepared: Any, inputs: Arrays) -> list[np.ndarray]:
    compilation = prepared.compilation
    given = dict(zip(prepared.names, inputs, strict=False))
    free = {spec.name: np.asarray(given[spec.name]).astype(spec.dtype) for spec in compilation.inputs}
    return error_bounds(compilation, list(checked_inputs(free, compilation.inputs).values()))


def outcomes(cases: Mapping[str, Case], names: Sequence[str], target: str) -> Iterator[Outcome]:
    """The outcome of each named case, in order."""
    for name in names:
        yield run_case(cases[name], target)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    known = all_cases()
    for outcome in outcomes(known, sys.stdin.read().split(), sys.argv[1]):
        print(json.dumps(asdict(outcome)), flush=True)
