"""A hypothesis strategy of random valid ONNX models, with inputs and the results of the ONNX reference evaluator.

Hypothesis draws a seed and the number of nodes, so that a failing model shrinks by losing nodes; everything else follows
from the seed, evenly, where hypothesis would favour the first of each list. A model grows node by node: each takes values
that are there already, and is kept when the reference evaluator finds finite values of ordinary size, so that disagreements
are about operators and not about overflow.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from tests.random_growth import Growth
from tests.random_layers import LAYERS
from tests.random_operators import BASIC

OPSETS = (7, 8, 9, 10, 11, 12, 13, 17, 18, 20, 22, onnx.defs.onnx_opset_version())

KINDS = (*BASIC, *BASIC, *LAYERS)
LARGEST = 200.0
"""Values beyond this are not ordinary: 16 bits for them leave too little for what is added to them."""
MOST_ELEMENTS = 400
LEAST_NODES = 3

Draw = Callable[[st.SearchStrategy], Any]


@dataclass(frozen=True)
class RandomModel:
    """A model, its inputs by name, and its outputs in order as the reference evaluator computes them, all in float32.

    One model in six is of float16, with numbers that it holds exactly.
    """

    model: onnx.ModelProto
    inputs: Mapping[str, np.ndarray]
    expected: Sequence[np.ndarray]

    def __repr__(self) -> str:
        """The model's text, which is what a failing example has to show."""
        return onnx.printer.to_text(self.model)


@st.composite
def random_models(draw: Draw, most_nodes: int = 10) -> RandomModel:
    """Models of up to `most_nodes` operators over one or two float inputs of ranks 1 to 4."""
    return random_model(draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, most_nodes)))


def random_model(seed: int, most_nodes: int = 10) -> RandomModel:
    """The model that a seed names: up to `most_nodes` operators over one or two float inputs of ranks 1 to 4."""
    generator = np.random.default_rng(seed)
    growth = Growth(generator, OPSETS[generator.integers(len(OPSETS))])
    inputs: dict[str, np.ndarray] = {}
    for index in range(growth.pick(1, 2)):
        shape = generator.integers(1, 6, size=growth.pick(1, 2, 3, 3, 4, 4))
        inputs[f"x{index}"] = generator.standard_normal(shape).astype(np.float32)
    growth.values |= inputs
    wanted = (
        int(generator.integers(LEAST_NODES, most_nodes, endpoint=True))
        if most_nodes > LEAST_NODES
        else most_nodes
    )
    for _ in range(4 * wanted):
        if len(growth.nodes) < wanted:
            _grow(growth)
    if not growth.nodes:
        _keep(growth, helper.make_node("Relu", ["x0"], ["v0"]))
    return _finished(growth, inputs)


def _grow(growth: Growth) -> None:
    """Adds a node when what was drawn fits and its value is ordinary."""
    proposal = growth.pick(*KINDS)(growth)
    if proposal is not None:
        operator, operands, attributes = proposal
        _keep(growth, helper.make_node(operator, operands, [f"v{len(growth.nodes)}"], **attributes))


def _keep(growth: Growth, node: onnx.NodeProto) -> None:
    given = {name: growth.values.get(name, growth.constants.get(name)) for name in node.input}
    model = _model([node], given, dict.fromkeys(node.output, ()), growth.opset, {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            onnx.checker.check_model(model)
            value = ReferenceEvaluator(model).run(None, given)[0]
        except Exception:  # the evaluator raises what it likes for attributes that do not fit
            return
    ordinary = value.dtype == np.float32 and 0 < value.size <= MOST_ELEMENTS and np.isfinite(value).all()
    if ordinary and np.abs(value).max() <= LARGEST and value.ndim <= 4:
        growth.add(node, value)


def _finished(growth: Growth, inputs: Mapping[str, np.ndarray]) -> RandomModel:
    """The model whose outputs are the values that no node reads."""
    read = {name for node in growth.nodes for name in node.input}
    outputs = [name for node in growth.nodes for name in node.output if name not in read]
    used = {name: value for name, value in inputs.items() if name in read}
    constants = {name: value for name, value in growth.constants.items() if name in read}
    shapes = {name: growth.values[name].shape for name in outputs}
    scaled = any(node.op_type in ("Resize", "Upsample") for node in growth.nodes)  # by factors in float32
    if growth.generator.integers(6) or scaled:
        model = _model(growth.nodes, used, shapes, growth.opset, constants)
        expected = [growth.values[name] for name in outputs]
    else:
        used, constants = _halves(used), _halves(constants)
        exact = {name: _widened(value) for name, value in (used | constants).items()}
        reference = _model(growth.nodes, exact, shapes, growth.opset, {})
        expected = ReferenceEvaluator(reference).run(None, exact)
        model = _model(growth.nodes, used, shapes, growth.opset, constants, TensorProto.FLOAT16)
    onnx.checker.check_model(model)
    return RandomModel(model, {name: _widened(value) for name, value in used.items()}, expected)


def _halves(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Floats rounded to float16."""
    return {n: a.astype(np.float16) if a.dtype == np.float32 else a for n, a in arrays.items()}


def _widened(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, np.ndarray],
    outputs: Mapping[str, Sequence[int] | None],
    opset: int,
    constants: Mapping[str, np.ndarray],
    result_type: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    given = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in inputs.items()
    ]
    graph = helper.make_graph(
        nodes,
        "random",
        given,
        [helper.make_tensor_value_info(name, result_type, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
