"""If, Loop, Scan, sequences and optionals: evaluated during import, so that none of them reaches Relax."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from tvm import relax

from nmc.frontend.emitter import dtype_of, shape_of
from nmc.frontend.values import ConversionError, Node

if TYPE_CHECKING:
    from nmc.frontend.graph_importer import GraphImporter, Handler, Opsets, Scope

LONGEST_LOOP = 4096
"""Iterations that are unrolled at most: a longer loop would make a program too long to compile."""


def _if(importer: "GraphImporter", node: Node, scope: "Scope", opsets: "Opsets") -> Sequence[Any]:
    condition = node.tensor(0)
    branches = [node.attributes["then_branch"], node.attributes["else_branch"]]
    if isinstance(condition, np.ndarray):
        chosen = branches[0] if bool(condition.reshape(-1)[0]) else branches[1]
        return importer.import_graph(chosen, scope, opsets, node.layer)
    emitter = importer.emitter
    results = [importer.import_graph(branch, scope, opsets, node.layer) for branch in branches]
    emitter.layer = node.layer
    if any(value is None or isinstance(value, list) for values in results for value in values):
        node.constant(0)  # raises: a sequence or an optional cannot be selected element by element
    selected = []
    for first, second in zip(*results, strict=True):
        if shape_of(first) != shape_of(second) or dtype_of(first) != dtype_of(second):
            raise ConversionError(
                "its branches give different shapes and the condition is known at run time only"
            )
        selected.append(emitter.call(relax.op.where, emitter.reshape(condition, ()), first, second))
    return selected


def _loop(importer: "GraphImporter", node: Node, scope: "Scope", opsets: "Opsets") -> Sequence[Any]:
    body = node.attributes["body"]
    count, condition = node.constant(0), node.constant(1)
    limit = LONGEST_LOOP + 1 if count is None else int(count.reshape(-1)[0])
    carried = list(node.inputs[2:])
    running = condition is None or bool(condition.reshape(-1)[0])
    scanned: list[list[Any]] = [[] for _ in body.output[1 + len(carried) :]]
    iteration = 0
    while running and iteration < limit:
        if iteration >= LONGEST_LOOP:
            raise ConversionError(f"runs more than {LONGEST_LOOP} times, too long to unroll")
        arguments = [np.asarray(iteration, np.int64), np.asarray(True), *carried]
        inner = {**scope, **{value.name: given for value, given in zip(body.input, arguments, strict=True)}}
        proceed, *results = importer.import_graph(body, inner, opsets, node.layer)
        if not isinstance(proceed, np.ndarray):
            raise ConversionError(
                "how often it runs depends on the data, which a static compiler cannot unroll"
            )
        running = bool(proceed.reshape(-1)[0])
        carried = results[: len(carried)]
        for collected, value in zip(scanned, results[len(carried) :], strict=True):
            collected.append(value)
        iteration += 1
    importer.emitter.layer = node.layer
    return [*carried, *(_stack(importer, values, 0) for values in scanned)]


def _scan(importer: "GraphImporter", node: Node, scope: "Scope", opsets: "Opsets") -> Sequence[Any]:
    if node.opset >= 9:
        return _scanned(importer, node, node.inputs, scope, opsets)
    # Operator set 8 scans each element of a batch by itself, and may give each a length of its own.
    if node.input(0) is not None:
        raise ConversionError("has lengths of sequences, which no operator set after 8 has; export it anew")
    given = [value for value in node.inputs[1:] if value is not None]
    batch = shape_of(given[0])[0]
    elements = [[_pick(importer, value, 0, index) for value in given] for index in range(batch)]
    results = [_scanned(importer, node, element, scope, opsets) for element in elements]
    return [_stack(importer, list(values), 0) for values in zip(*results, strict=True)]


def _scanned(
    importer: "GraphImporter", node: Node, inputs: Sequence[Any], scope: "Scope", opsets: "Opsets"
) -> Sequence[Any]:
    body, scans = node.attributes["body"], int(node.attributes["num_scan_inputs"])
    states = len(inputs) - scans
    carried, sequences = list(inputs[:states]), list(inputs[states:])
    outputs = len(body.output) - states
    axes = node.attributes.get("scan_input_axes", [0] * scans)
    directions = "scan_input_directions" if node.opset >= 9 else "directions"
    backwards = node.attributes.get(directions, [0] * scans)
    lengths = {shape_of(value)[axis] for value, axis in zip(sequences, axes, strict=True)}
    if len(lengths) != 1:
        raise ConversionError("its scan inputs have different lengths")
    length = lengths.pop()
    scanned: list[list[Any]] = [[] for _ in range(outputs)]
    for step in range(length):
        rows = []
        for value, axis, backward in zip(sequences, axes, backwards, strict=True):
            index = np.asarray(length - 1 - step if backward else step)
            rows.append(_pick(importer, value, axis % len(shape_of(value)), int(index)))
        inner = {**scope, **{v.name: given for v, given in zip(body.input, [*carried, *rows], strict=True)}}
        results = importer.import_graph(body, inner, opsets, node.layer)
        carried = results[:states]
        for collected, value in zip(scanned, results[states:], strict=True):
            collected.append(value)
    importer.emitter.layer = node.layer
    reversed_outputs = node.attributes.get("scan_output_directions", [0] * outputs)
    output_axes = node.attributes.get("scan_output_axes", [0] * outputs)
    return [
        *carried,
        *(
            _stack(importer, values[::-1] if backward else values, axis)
            for values, backward, axis in zip(scanned, reversed_outputs, output_axes, strict=True)
        ),
    ]


def _pick(importer: "GraphImporter", value: Any, axis: int, index: int) -> Any:
    shape = shape_of(value)
    row = importer.emitter.slice(value, axis, index, index + 1)
    return importer.emitter.reshape(row, (*shape[:axis], *shape[axis + 1 :]))


def _stack(importer: "GraphImporter", values: list[Any], axis: int) -> Any:
    if not values:
        raise ConversionError("a scan output without iterations has no elements")
    axis %= len(shape_of(values[0])) + 1
    rows = []
    for value in values:
        shape = shape_of(value)
        rows.append(importer.emitter.reshape(value, (*shape[:axis], 1, *shape[axis:])))
    return importer.emitter.concat(rows, axis)


def _sequence_at(importer: "GraphImporter", node: Node, scope: "Scope", opsets: "Opsets") -> Sequence[Any]:
    return [_sequence(node)[_position(node, 1)]]


def _sequence_insert(
    importer: "GraphImporter", node: Node, scope: "Scope", opsets: "Opsets"
) -> Sequence[Any]:
    items = _sequence(node)
    position = len(items) if node.input(2) is None else _position(node, 2)
    items.insert(position, node.input(1))
    return [items]


def _sequence_erase(importer: "GraphImporter", node: Node, scope: "Scope", opsets: "Opsets") -> Sequence[Any]:
    items = _sequence(node)
    del items[-1 if node.input(1) is None else _position(node, 1)]
    return [items]


def _concat_from_sequence(
    importer: "GraphImporter", node: Node, scope: "Scope", opsets: "Opsets"
) -> Sequence[Any]:
    items, axis = _sequence(node), int(node.attributes["axis"])
    if node.attributes.get("new_axis", 0):
        return [_stack(importer, items, axis)]
    return [importer.emitter.concat(items, axis % len(shape_of(items[0])))]


def _split_to_sequence(
    importer: "GraphImporter", node: Node, scope: "Scope", opsets: "Opsets"
) -> Sequence[Any]:
    value, sizes = node.tensor(0), node.constant(1)
    axis = int(node.attributes.get("axis", 0)) % len(shape_of(value))
    extent = shape_of(value)[axis]
    if sizes is None:
        lengths = [1] * extent
    elif sizes.ndim == 0:
        chunk = int(sizes)
        lengths = [min(chunk, extent - start) for start in range(0, extent, chunk)]
    else:
        lengths = [int(size) for size in sizes]
    ends = np.cumsum(lengths)
    parts = [
        importer.emitter.slice(value, axis, int(end) - length, int(end))
        for end, length in zip(ends, lengths, strict=True)
    ]
    if sizes is None and not node.attributes.get("keepdims", 1):
        shape = shape_of(value)
        parts = [importer.emitter.reshape(part, (*shape[:axis], *shape[axis + 1 :])) for part in parts]
    return [parts]


def _sequence(node: Node) -> list[Any]:
    value = node.input(0)
    if not isinstance(value, list):
        raise ConversionError("input 0 must be a sequence")
    return list(value)


def _position(node: Node, index: int) -> int:
    constant = node.constant(index)
    if constant is None:
        raise ConversionError(f"input {index} is missing")
    return int(constant.reshape(-1)[0])


HANDLERS: dict[tuple[str, str], "Handler"] = {
    ("", "If"): _if,
    ("", "Loop"): _loop,
    ("", "Scan"): _scan,
    ("", "SequenceEmpty"): lambda importer, node, scope, opsets: [[]],
    ("", "SequenceConstruct"): lambda importer, node, scope, opsets: [list(node.inputs)],
    ("", "SequenceLength"): lambda importer, node, scope, opsets: [
        np.asarray(len(_sequence(node)), np.int64)
    ],
    ("", "SequenceAt"): _sequence_at,
    ("", "SequenceInsert"): _sequence_insert,
    ("", "SequenceErase"): _sequence_erase,
    ("", "ConcatFromSequence"): _concat_from_sequence,
    ("", "SplitToSequence"): _split_to_sequence,
    ("", "Optional"): lambda importer, node, scope, opsets: [node.input(0)],
    ("", "OptionalGetElement"): lambda importer, node, scope, opsets: [node.input(0)],
    ("", "OptionalHasElement"): lambda importer, node, scope, opsets: [np.asarray(node.input(0) is not None)],
}
"""What each operator over control flow, sequences and optionals evaluates to."""
