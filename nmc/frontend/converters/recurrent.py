"""LSTM, GRU and RNN, unrolled over the static number of time steps (formulas: ONNX operator pages)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax

from nmc.frontend.converters.activations import hard_sigmoid, softplus
from nmc.frontend.converters.elementwise import like
from nmc.frontend.converters.registry import converts
from nmc.frontend.emitter import Emitter, shape_of
from nmc.frontend.values import ConversionError, Node, Value

Activation = Callable[[Value], Value]


@dataclass(frozen=True)
class Cell:
    """One direction of a recurrent node: its weights by gate and its activations."""

    emitter: Emitter
    hidden: int
    weight: Value
    """Input weights, shape [input size, gates·hidden]."""
    recurrence: Value
    """Recurrent weights, shape [hidden, gates·hidden]."""
    input_bias: Value
    recurrent_bias: Value
    peephole: Value | None
    activations: tuple[Activation, ...]
    attributes: dict[str, Any]

    def gate(self, value: Value, index: int) -> Value:
        """Columns of gate `index` of a tensor whose last axis holds all gates."""
        return self.emitter.slice(
            value, len(shape_of(value)) - 1, index * self.hidden, (index + 1) * self.hidden
        )

    def add(self, a: Value, b: Value) -> Value:
        """a + b, where adding a zero constant writes nothing."""
        if isinstance(b, np.ndarray) and not b.any():
            return a
        if isinstance(a, np.ndarray) and not a.any() and shape_of(a) == shape_of(b):
            return b
        if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
            return a + b
        return self.emitter.call(relax.op.add, a, b)

    def multiply(self, a: Value, b: Value) -> Value:
        """a·b, where a zero constant gives a zero constant."""
        for factor, other in ((a, b), (b, a)):
            if isinstance(factor, np.ndarray) and not factor.any():
                return np.zeros(np.broadcast_shapes(shape_of(factor), shape_of(other)), np.float32)
        return self.emitter.call(relax.op.multiply, a, b)

    def recur(self, h: Value, weight: Value) -> Value:
        """h·weight; the zero state of the first step costs no product."""
        if isinstance(h, np.ndarray) and not h.any():
            return np.zeros((shape_of(h)[0], shape_of(weight)[1]), np.float32)
        return self.emitter.call(relax.op.matmul, h, weight)

    def limit(self, value: Value) -> Value:
        """Clip the input of an activation where the node asks for it."""
        bound = self.attributes.get("clip")
        return value if not bound else self.emitter.call(relax.op.clip, value, -float(bound), float(bound))


Step = Callable[[Cell, Value, list[Value]], list[Value]]
"""New states from the projected input of one time step [batch, gates·hidden] and the old states."""


def _rnn_step(cell: Cell, projected: Value, states: list[Value]) -> list[Value]:
    total = cell.add(projected, cell.add(cell.recur(states[0], cell.recurrence), cell.recurrent_bias))
    return [cell.activations[0](cell.limit(total))]


def _gru_step(cell: Cell, projected: Value, states: list[Value]) -> list[Value]:
    (h,) = states
    f, g = cell.activations
    hidden = cell.hidden
    emitter = cell.emitter
    rates = emitter.slice(cell.recurrence, 1, 0, 2 * hidden)
    rates_bias = emitter.slice(cell.recurrent_bias, 0, 0, 2 * hidden)
    both = cell.add(emitter.slice(projected, 1, 0, 2 * hidden), cell.add(cell.recur(h, rates), rates_bias))
    update, reset = (f(cell.limit(cell.gate(both, index))) for index in (0, 1))
    candidate_weight, candidate_bias = cell.gate(cell.recurrence, 2), cell.gate(cell.recurrent_bias, 2)
    if cell.attributes.get("linear_before_reset", 0):
        memory = cell.multiply(reset, cell.add(cell.recur(h, candidate_weight), candidate_bias))
    else:
        memory = cell.add(cell.recur(cell.multiply(reset, h), candidate_weight), candidate_bias)
    candidate = g(cell.limit(cell.add(cell.gate(projected, 2), memory)))
    difference = emitter.call(relax.op.subtract, h, candidate)
    return [cell.add(candidate, cell.multiply(update, difference))]


def _lstm_step(cell: Cell, projected: Value, states: list[Value]) -> list[Value]:
    h, c = states
    f, g, last = cell.activations
    total = cell.add(projected, cell.add(cell.recur(h, cell.recurrence), cell.recurrent_bias))
    into, out, forget, new = (cell.gate(total, index) for index in range(4))
    if cell.peephole is not None:
        into = cell.add(into, cell.multiply(cell.gate(cell.peephole, 0), c))
        forget = cell.add(forget, cell.multiply(cell.gate(cell.peephole, 2), c))
    into = f(cell.limit(into))
    if cell.attributes.get("input_forget", 0):
        forget = cell.emitter.call(relax.op.subtract, np.float32(1), into)
    else:
        forget = f(cell.limit(forget))
    state = cell.add(cell.multiply(forget, c), cell.multiply(into, g(cell.limit(new))))
    if cell.peephole is not None:
        out = cell.add(out, cell.multiply(cell.gate(cell.peephole, 1), state))
    return [cell.multiply(f(cell.limit(out)), last(state)), state]


STEPS: dict[str, tuple[Step, int, tuple[str, ...]]] = {
    "RNN": (_rnn_step, 1, ("Tanh",)),
    "GRU": (_gru_step, 1, ("Sigmoid", "Tanh")),
    "LSTM": (_lstm_step, 2, ("Sigmoid", "Tanh", "Tanh")),
}
"""For each operator: its step, how many states it carries, its default activations."""


@converts(*STEPS)
def _recurrent(emitter: Emitter, node: Node) -> Sequence[Value]:
    step, states, _ = STEPS[node.operator]
    x, batch_first = node.tensor(0), bool(node.attributes.get("layout", 0))
    if batch_first:
        x = emitter.transpose(x, [1, 0, 2])
    direction = node.attributes.get("direction", "forward")
    directions = 2 if direction == "bidirectional" else 1
    sequences, finals = [], []
    for index in range(directions):
        cell = _cell(emitter, node, index, directions)
        start = [_initial(emitter, node, 5 + i, index, x, cell, batch_first) for i in range(states)]
        backwards = direction == "reverse" or index == 1
        rows, final = _run(cell, step, x, start, node.input(4), backwards)
        sequences.append(_stack(emitter, rows, 0))
        finals.append(final)
    y = _stack(emitter, sequences, 1)  # [time, directions, batch, hidden]
    ends = [_stack(emitter, [final[i] for final in finals], 0) for i in range(states)]
    if batch_first:
        y = emitter.transpose(y, [2, 0, 1, 3])
        ends = [emitter.transpose(end, [1, 0, 2]) for end in ends]
    return [y, *ends]


def _run(
    cell: Cell, step: Step, x: Value, states: list[Value], lengths: Value | None, backwards: bool
) -> tuple[list[Value], list[Value]]:
    """Outputs by time, and the last states.

    Steps beyond a sequence's length keep its state and give zero, so that a run from the end backwards
    starts at each sequence's own last element.
    """
    emitter, (time, batch, size) = cell.emitter, shape_of(x)
    width = shape_of(cell.weight)[1]
    flat = emitter.reshape(x, (time * batch, size))
    projected = cell.add(emitter.call(relax.op.matmul, flat, cell.weight), cell.input_bias)
    projected = emitter.reshape(projected, (time, batch, width))
    rows: dict[int, Value] = {}
    for t in reversed(range(time)) if backwards else range(time):
        row = emitter.reshape(emitter.slice(projected, 0, t, t + 1), (batch, width))
        fresh = step(cell, row, states)
        running = _running(emitter, lengths, t, batch)
        if running is None:
            states, rows[t] = fresh, fresh[0]
            continue
        states = [
            emitter.call(relax.op.where, running, new, old) for new, old in zip(fresh, states, strict=True)
        ]
        rows[t] = emitter.call(relax.op.where, running, fresh[0], np.float32(0))
    return [rows[t] for t in range(time)], states


def _running(emitter: Emitter, lengths: Value | None, t: int, batch: int) -> Value | None:
    """Which sequences reach beyond time t, shape [batch, 1]; None where all do."""
    if lengths is None or (isinstance(lengths, np.ndarray) and bool((lengths > t).all())):
        return None
    if isinstance(lengths, np.ndarray):
        return (lengths > t).reshape(batch, 1)
    return emitter.reshape(emitter.call(relax.op.greater, lengths, like(lengths, t)), (batch, 1))


def _cell(emitter: Emitter, node: Node, index: int, directions: int) -> Cell:
    hidden = int(node.attributes.get("hidden_size", shape_of(node.tensor(2))[-1]))
    weight, recurrence = (_direction(emitter, node.tensor(i), index) for i in (1, 2))
    width = shape_of(weight)[0]
    bias: Value = np.zeros(2 * width, np.float32)
    if node.input(3) is not None:
        bias = _direction(emitter, node.tensor(3), index)
    input_bias, recurrent_bias = emitter.slice(bias, 0, 0, width), emitter.slice(bias, 0, width, 2 * width)
    separate = node.operator == "GRU" and node.attributes.get("linear_before_reset", 0)
    if not separate and isinstance(input_bias, np.ndarray) and isinstance(recurrent_bias, np.ndarray):
        input_bias, recurrent_bias = input_bias + recurrent_bias, np.zeros(width, np.float32)
    peephole = _direction(emitter, node.tensor(7), index) if node.input(7) is not None else None
    return Cell(
        emitter,
        hidden,
        emitter.transpose(weight, [1, 0]),
        emitter.transpose(recurrence, [1, 0]),
        input_bias,
        recurrent_bias,
        peephole,
        _activations(emitter, node, index, directions),
        dict(node.attributes),
    )


def _direction(emitter: Emitter, value: Value, index: int) -> Value:
    shape = shape_of(value)
    return emitter.reshape(emitter.slice(value, 0, index, index + 1), shape[1:])


def _initial(
    emitter: Emitter, node: Node, position: int, index: int, x: Value, cell: Cell, batch_first: bool
) -> Value:
    given = node.input(position)
    if given is None:
        return np.zeros((shape_of(x)[1], cell.hidden), np.float32)
    if batch_first:
        given = emitter.transpose(given, [1, 0, 2])
    return _direction(emitter, given, index)


def _stack(emitter: Emitter, values: Sequence[Value], axis: int) -> Value:
    shape = shape_of(values[0])
    return emitter.concat(
        [emitter.reshape(value, (*shape[:axis], 1, *shape[axis:])) for value in values], axis
    )


def _activations(emitter: Emitter, node: Node, index: int, directions: int) -> tuple[Activation, ...]:
    """The activations of one direction; alphas and betas are consumed in order by those that take them."""
    defaults = STEPS[node.operator][2]
    names = list(node.attributes.get("activations") or defaults * directions)
    alphas = iter(node.attributes.get("activation_alpha") or [])
    betas = iter(node.attributes.get("activation_beta") or [])
    built = []
    for name in names:
        key = name.lower()
        if key not in ACTIVATIONS:
            raise ConversionError(f"activation '{name}' is not defined by ONNX")
        make, alpha, beta = ACTIVATIONS[key]
        a = next(alphas, alpha) if alpha is not None else 0.0
        b = next(betas, beta) if beta is not None else 0.0
        built.append(_bind(make, emitter, float(a), float(b)))
    return tuple(built[index * len(defaults) : (index + 1) * len(defaults)])


def _bind(make: Callable[..., Value], emitter: Emitter, alpha: float, beta: float) -> Activation:
    return lambda x: make(emitter, x, alpha, beta)


def _affine(e: Emitter, x: Value, a: float, b: float) -> Value:
    return e.call(relax.op.add, e.call(relax.op.multiply, x, like(x, a)), like(x, b))


def _scaled_tanh(e: Emitter, x: Value, a: float, b: float) -> Value:
    return e.call(
        relax.op.multiply, e.call(relax.op.tanh, e.call(relax.op.multiply, x, like(x, b))), like(x, a)
    )


def _elu(e: Emitter, x: Value, a: float, b: float) -> Value:
    power = e.call(relax.op.exp, e.call(relax.op.minimum, x, like(x, 0)))
    falling = e.call(relax.op.multiply, e.call(relax.op.subtract, power, like(x, 1)), like(x, a))
    return e.call(relax.op.add, e.call(relax.op.nn.relu, x), falling)


def _softsign(e: Emitter, x: Value, a: float, b: float) -> Value:
    return e.call(relax.op.divide, x, e.call(relax.op.add, e.call(relax.op.abs, x), like(x, 1)))


def _thresholded(e: Emitter, x: Value, a: float, b: float) -> Value:
    return e.call(relax.op.where, e.call(relax.op.greater, x, like(x, a)), x, like(x, 0))


ACTIVATIONS: dict[str, tuple[Callable[..., Value], float | None, float | None]] = {
    "affine": (_affine, 1.0, 0.0),
    "elu": (_elu, 1.0, None),
    "hardsigmoid": (hard_sigmoid, 0.2, 0.5),
    "leakyrelu": (lambda e, x, a, b: e.call(relax.op.nn.leakyrelu, x, alpha=a), 0.01, None),
    "relu": (lambda e, x, a, b: e.call(relax.op.nn.relu, x), None, None),
    "scaledtanh": (_scaled_tanh, 1.0, 1.0),
    "sigmoid": (lambda e, x, a, b: e.call(relax.op.sigmoid, x), None, None),
    "softplus": (lambda e, x, a, b: softplus(e, x), None, None),
    "softsign": (_softsign, None, None),
    "tanh": (lambda e, x, a, b: e.call(relax.op.tanh, x), None, None),
    "thresholdedrelu": (_thresholded, 1.0, None),
}
"""By lower-case name: how to write the activation, and its default alpha and beta (None: it takes none)."""
