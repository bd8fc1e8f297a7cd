"""The standard's own test-suite runs on nmc unmodified; all of it is in tests/bench/conformance.py."""

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx.backend.test import BackendTest
from onnx.backend.test.case.node import collect_testcases
from onnx.numpy_helper import to_array

from nmc.backend import AcceleratorBackend, CpuBackend
from nmc.errors import ModelError, NmcError, UnsupportedOperatorError
from tests.bench.conformance_cases import Case, run_case

SAMPLE = (
    "add_bcast",
    "affine_grid_2d",
    "bitcast_float32_to_int32",
    "celu_bfloat16",
    "clip_example",
    "gemm_default_matrix_bias",
    "dequantizelinear_int2",
    "lstm_defaults",
    "pow_example",
    "quantizelinear_blocked_asymmetric",
    "quantizelinear_float4e2m1",
    "reduce_l1_empty_set",
    "scan_sum",  # of operator set 8
    "softmax_axis_1",
    "top_k_uint64",
)
CASES = {found.name: found for found in collect_testcases(None)}


def arrays(values: list[object]) -> list[object]:
    """The values of a case, of which those that numpy has no type for are stored as messages."""
    return [to_array(value) if isinstance(value, TensorProto) else value for value in values]


@pytest.mark.parametrize("name", SAMPLE)
def test_a_sample_of_the_standards_cases_passes(name: str) -> None:
    case = CASES[f"test_{name}"]
    for inputs, expected in case.data_sets:
        results = CpuBackend.run_model(case.model, arrays(inputs))
        BackendTest.assert_similar_outputs(arrays(expected), results, case.rtol, case.atol)


@pytest.mark.parametrize(
    "name",
    [
        "attention_3d_causal",
        "attention_23_boolmask_fullymasked_row_nan_robustness",  # one row of scores is masked whole
        "attention_3d_transpose_verification",  # all keys are equal: scores differ by zero
        "causal_conv_with_state_kernel_size_one",  # one of its outputs has no elements
        "clip_example",
        "gru_defaults",
        "l2normalization_axis_0",  # one column is zero
        "logsoftmax_example_1",
        "reduce_max_empty_set",  # minus infinity
        "softmax_large_number",  # scores around 10000
        "tan",  # its range holds two poles
        "split_zero_size_splits_opset18",  # nothing has elements
    ],
)
def test_a_sample_of_the_standards_cases_passes_on_the_accelerator(name: str) -> None:
    case = CASES[f"test_{name}"]
    outcome = run_case(
        Case(case.name, "node", case.model, case.data_sets, case.rtol, case.atol), "gemm-accel"
    )
    assert outcome.passed, outcome.reason


def test_a_shape_is_bound_only_because_it_has_to_be_known() -> None:
    reshape = CASES["test_reshape_extended_dims"]
    prepared = CpuBackend.prepare(reshape.model)
    (inputs, (expected,)) = reshape.data_sets[0]
    np.testing.assert_array_equal(prepared.run(inputs)[0], expected)
    assert prepared.bound == ("shape",)
    with pytest.raises(ModelError, match="'shape' is a constant of the compiled model"):
        prepared.run([inputs[0], inputs[1][::-1]])


@pytest.mark.parametrize(
    "name",
    [
        "if_seq",
        "optional_get_element_optional_sequence",
        "optional_has_element_empty_optional_input",
        "sequence_insert_at_front",
        "sequence_map_identity_1_sequence_1_tensor",
    ],
)
def test_sequences_and_optionals_enter_and_leave_a_model_element_by_element(name: str) -> None:
    case = CASES[f"test_{name}"]
    outcome = run_case(Case(case.name, "node", case.model, case.data_sets, case.rtol, case.atol), "cpu")
    assert outcome.passed, outcome.reason


def test_a_sequence_of_another_length_is_refused() -> None:
    case = CASES["test_identity_sequence"]
    prepared = CpuBackend.prepare(case.model)
    (sequence,), _ = case.data_sets[0]
    (results,) = prepared.run([sequence])
    for result, element in zip(results, sequence, strict=True):
        np.testing.assert_array_equal(result, element)
    with pytest.raises(NmcError, match=rf"x\[{len(sequence)}\]' is not an input"):
        prepared.run([[*sequence, sequence[0]]])


def test_a_double_beyond_float32_is_computed_as_such() -> None:
    node = helper.make_node("Neg", ["x"], ["y"])
    np.testing.assert_array_equal(CpuBackend.run_node(node, [np.array([-1e200, 1.0])])[0], [1e200, -1.0])


def test_the_accelerator_refuses_what_the_cpu_would_have_to_do() -> None:
    node = helper.make_node("TopK", ["x", "k"], ["values", "indices"])
    x, k = np.arange(8, dtype=np.float32), np.array([3], np.int64)
    kinds = [(np.dtype(np.float32), (3,)), (np.dtype(np.int64), (3,))]
    with pytest.raises(UnsupportedOperatorError, match="topk"):
        AcceleratorBackend.run_node(node, [x, k], outputs_info=kinds)
    values, indices = CpuBackend.run_node(node, [x, k], outputs_info=kinds)
    np.testing.assert_array_equal(values, [7, 6, 5])
    np.testing.assert_array_equal(indices, [7, 6, 5])


def test_one_node_runs_on_the_accelerator_within_a_step_of_its_result() -> None:
    x = np.linspace(-2, 2, 12, dtype=np.float32).reshape(3, 4)
    (result,) = AcceleratorBackend.run_node(helper.make_node("Relu", ["x"], ["y"]), [x])
    step = 2.0 * 2.0 / 2**15  # twice the largest value, in 16 bits
    np.testing.assert_allclose(result, np.maximum(x, 0), atol=step)
