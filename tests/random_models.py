"""Random valid ONNX models, with inputs and the results of the ONNX reference evaluator, by number or for hypothesis.

Hypothesis draws a seed and the number of nodes, so that a failing model shrinks by losing nodes; everything else follows
from the seed, evenly, where hypothesis would favour the first of each list. A model grows node by node: each takes values
that are there already, and is kept when the reference evaluator finds finite values of ordinary size, so that disagreements
are about operators and not about overflow.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from tests.random_functions import FUNCTIONS
from tests.random_growth import Growth, UnfitError, keep, model_of, names_read
from tests.random_layers import LAYERS
from tests.random_moves import MOVES
from tests.random_operators import BASIC
from tests.random_steps import STEPS
from tests.random_structures import STRUCTURES

NEWEST = onnx.defs.onnx_opset_version()
OPSETS = (7, 8, 9, 10, 11, 12, 13, 17, 18, 20, 22, *[NEWEST] * 4)

KINDS = (BASIC, BASIC, LAYERS, FUNCTIONS, MOVES, STEPS, STRUCTURES)
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
def random_models(draw: Draw, most_nodes: int = 8) -> RandomModel:
    """Models of up to `most_nodes` operators over one or two float inputs of ranks 1 to 4."""
    return random_model(draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, most_nodes)))


def random_model(seed: int, most_nodes: int = 8) -> RandomModel:
    """The model that a seed names: up to `most_nodes` operators over one or two float inputs of ranks 1 to 4.

    A proposal of several nodes counts as one.
    """
    generator = np.random.default_rng(seed)
    growth = Growth(generator, OPSETS[generator.integers(len(OPSETS))])
    inputs: dict[str, np.ndarray] = {}
    for index in range(growth.pick(1, 2)):
        shape = generator.integers(1, 6, size=growth.pick(1, 2, 3, 3, 4, 4))
        inputs[f"x{index}"] = generator.standard_normal(shape).astype(np.float32)
    growth.values |= inputs
    wanted = int(generator.integers(min(LEAST_NODES, most_nodes), most_nodes, endpoint=True))
    for _ in range(6 * wanted):
        if len(growth.values) < wanted + len(inputs):
            _grow(growth)
    if not growth.nodes:
        keep(growth, helper.make_node("Relu", ["x0"], ["v0"]))
    return _finished(growth, inputs | growth.inputs)


def _grow(growth: Growth) -> None:
    """Adds a node when what was drawn fits and its value is ordinary."""
    growth.pending.clear()
    try:
        proposal = growth.pick(*growth.pick(*KINDS))(growth)
        if proposal is not None:
            operator, operands, attributes = proposal
            keep(growth, helper.make_node(operator, operands, [f"v{len(growth.values)}"], **attributes))
    except UnfitError:
        return


def _finished(growth: Growth, inputs: Mapping[str, np.ndarray]) -> RandomModel:
    """The model whose outputs are the values that no node reads."""
    read = {name for node in growth.nodes for name in names_read(node)}
    outputs = [name for name in growth.values if name not in read and name not in inputs]
    used = {name: value for name, value in inputs.items() if name in read}
    constants = {name: value for name, value in growth.constants.items() if name in read}
    shapes = {name: growth.values[name].shape for name in outputs}
    if growth.generator.integers(6) or growth.single_precision:
        model = model_of(growth.nodes, used, shapes, growth.opset, constants)
        expected = [growth.values[name] for name in outputs]
    else:
        used, constants = _halves(used), _halves(constants)
        exact = {name: _widened(value) for name, value in (used | constants).items()}
        reference = model_of(growth.nodes, exact, shapes, growth.opset, {})
        expected = ReferenceEvaluator(reference).run(None, exact)
        model = model_of(growth.nodes, used, shapes, growth.opset, constants, TensorProto.FLOAT16)
    onnx.checker.check_model(model)
    return RandomModel(model, {name: _widened(value) for name, value in used.items()}, expected)


def _halves(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Floats rounded to float16."""
    return {n: a.astype(np.float16) if a.dtype == np.float32 else a for n, a in arrays.items()}


def _widened(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype == np.float16 else array
