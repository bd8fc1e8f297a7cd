"""Random control flow, sequences and losses: nodes that hold graphs, lists of tensors, or labels."""

from collections.abc import Callable, Sequence

import numpy as np
from onnx import TensorProto, helper

from tests.random_growth import Growth, Proposal


def _branch(growth: Growth) -> Proposal:
    """One of two graphs by a constant condition, both of which read a value from outside."""
    x = growth.some()
    graphs = {}
    for name, operator in (("then_branch", "Relu"), ("else_branch", "Neg")):
        result = helper.make_tensor_value_info(f"{name}{len(growth.inner)}", TensorProto.FLOAT, None)
        graphs[name] = helper.make_graph([helper.make_node(operator, [x], [result.name])], name, [], [result])
    growth.single_precision = True
    return "If", [growth.constant(np.array(growth.chance()))], graphs


def _loop(growth: Growth) -> Proposal:
    """A constant number of steps that each halve a state and add to it."""
    x, mark = growth.some(), len(growth.inner)
    names = [f"{name}{mark}" for name in ("step", "going", "state", "still", "half", "next")]
    step, going, state, still, half, following = names
    nodes = [
        helper.make_node("Identity", [going], [still]),
        helper.make_node("Mul", [state, growth.number(0.5)], [half]),
        helper.make_node("Add", [half, growth.number(0.25)], [following]),
    ]
    body = helper.make_graph(
        nodes,
        "body",
        [
            helper.make_tensor_value_info(step, TensorProto.INT64, []),
            helper.make_tensor_value_info(going, TensorProto.BOOL, []),
            helper.make_tensor_value_info(state, TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info(still, TensorProto.BOOL, []),
            helper.make_tensor_value_info(following, TensorProto.FLOAT, None),
        ],
    )
    growth.single_precision = True
    count = growth.constant(np.array(growth.pick(1, 2, 3), np.int64))
    return "Loop", [count, growth.constant(np.array(True)), x], {"body": body}


def _scan(growth: Growth) -> Proposal:
    """Running sums of the squares along the first axis; the last of them."""
    if growth.opset < 9:  # where it had a batch axis, which the evaluator does not know
        return None
    x, mark = growth.some(least_rank=2, most_rank=3), len(growth.inner)
    total, row, square, following, shown = (
        f"{n}{mark}" for n in ("total", "row", "square", "after", "shown")
    )
    shape = list(growth.of(x).shape[1:])
    nodes = [
        helper.make_node("Mul", [row, row], [square]),
        helper.make_node("Add", [total, square], [following]),
        helper.make_node("Identity", [following], [shown]),
    ]
    body = helper.make_graph(
        nodes,
        "body",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in (total, row)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in (following, shown)],
    )
    growth.single_precision = True
    sums = growth.nest_all("Scan", [growth.weights(*shape), x], 2, body=body, num_scan_inputs=1)
    return "Mul", [sums[1], sums[0]], {}


def _sequence(growth: Growth) -> Proposal:
    """Values that go through a sequence."""
    x = growth.some(least_rank=1)
    same = [name for name, value in growth.values.items() if value.shape == growth.of(x).shape]
    parts = growth.nest("SequenceConstruct", [x, str(growth.pick(*same))])
    if growth.chance():
        return "SequenceAt", [parts, growth.constant(np.array(growth.pick(0, 1, -1), np.int64))], {}
    axis = growth.axis(x)
    return "ConcatFromSequence", [parts], {"axis": axis, "new_axis": int(growth.chance())}


def _loss(growth: Growth) -> Proposal:
    """A loss by constant labels."""
    x = growth.some(least_rank=2, most_rank=3)
    shape = growth.of(x).shape
    labels = growth.constant(growth.generator.integers(shape[1], size=(shape[0], *shape[2:])))
    operator = str(growth.pick("SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss"))
    return operator, [x, labels], {"reduction": str(growth.pick("none", "sum", "mean"))}


def _recurrence_from_state(growth: Growth) -> Proposal:
    """A recurrent layer that starts from a state, and its last state."""
    x = growth.some(least_rank=3, most_rank=3)
    operator, gates = growth.pick(("RNN", 1), ("GRU", 3), ("LSTM", 4))
    (_, batch, size), hidden = growth.of(x).shape, 2
    weights = [growth.weights(1, gates * hidden, n) for n in (size, hidden)]
    state = growth.weights(1, batch, hidden)
    operands = [x, *weights, growth.weights(1, 2 * gates * hidden), "", state]
    last = growth.nest_all(str(operator), operands, 2, hidden_size=hidden)[1]
    return "Tanh", [last], {}


def _sampling_by_grid(growth: Growth) -> Proposal:
    """An image at places that a constant grid names."""
    x = growth.some(least_rank=4)
    grid = growth.generator.uniform(-1, 1, (growth.of(x).shape[0], 2, 3, 2)).astype(np.float32)
    mode = str(growth.pick("linear", "nearest")) if growth.opset >= 20 else "bilinear"
    padding = str(growth.pick("zeros", "border"))
    return "GridSample", [x, growth.constant(grid)], {"mode": mode, "padding_mode": padding}


STRUCTURES: Sequence[Callable[[Growth], Proposal]] = (
    _branch,
    _loop,
    _scan,
    _sequence,
    _loss,
    _recurrence_from_state,
    _sampling_by_grid,
)
"""Proposals of graphs in nodes, of sequences and of losses."""
