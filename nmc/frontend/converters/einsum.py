"""Einstein sums as transposes, reshapes and matrix products."""

from collections.abc import Sequence

import numpy as np
from tvm import relax

from nmc.frontend.converters.linear import matmul
from nmc.frontend.converters.registry import converts
from nmc.frontend.emitter import Emitter, shape_of
from nmc.frontend.values import ConversionError, Node, Value

ELLIPSIS_LETTERS = "0123456789"
"""Stand for the axes of an ellipsis, from the last one backwards; equations use letters only."""


@converts("Einsum")
def _einsum(emitter: Emitter, node: Node) -> Sequence[Value]:
    values = [node.tensor(i) for i in range(len(node.inputs))]
    terms, result = _parse(str(node.attributes["equation"]), [len(shape_of(value)) for value in values])
    operands = [_diagonal(emitter, value, term) for value, term in zip(values, terms, strict=True)]
    value, term = operands[0]
    for position, (other, other_term) in enumerate(operands[1:], start=1):
        later = set(result).union(*(t for _, t in operands[position + 1 :]))
        value, term = _contract(emitter, value, term, other, other_term, later)
    value, term = _sum_out(emitter, value, term, set(result))
    return [emitter.transpose(value, [term.index(letter) for letter in result])]


def _parse(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """One letter an axis for each operand and for the result, ellipses and implicit results written out."""
    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise ConversionError(f"equation '{equation}' has {len(terms)} operands, the node has {len(ranks)}")
    widths = [rank - len(term.replace("...", "")) for term, rank in zip(terms, ranks, strict=True)]
    expanded = [
        term.replace("...", ELLIPSIS_LETTERS[:width][::-1]) for term, width in zip(terms, widths, strict=True)
    ]
    widest = (
        ELLIPSIS_LETTERS[: max(w for t, w in zip(terms, widths, strict=True) if "..." in t)][::-1]
        if ("..." in left)
        else ""
    )
    if not arrow:
        letters = "".join(expanded)
        right = ("..." if "..." in left else "") + "".join(
            sorted(c for c in set(letters) if letters.count(c) == 1 and c.isalpha())
        )
    return expanded, right.replace("...", widest)


def _diagonal(emitter: Emitter, value: Value, term: str) -> tuple[Value, str]:
    """Merge axes that carry the same letter: elements off the diagonal are masked, then summed away."""
    for letter in sorted(set(term)):
        while term.count(letter) > 1:
            first, second = term.index(letter), term.rindex(letter)
            size, shape = shape_of(value)[first], [1] * len(term)
            shape[first] = shape[second] = size
            mask = np.eye(size, dtype=np.float32).reshape(shape)
            masked = emitter.call(relax.op.multiply, value, mask)
            value = emitter.call(relax.op.sum, masked, axis=[second], keepdims=False)
            term = term[:second] + term[second + 1 :]
    return value, term


def _sum_out(emitter: Emitter, value: Value, term: str, kept: set[str]) -> tuple[Value, str]:
    axes = [axis for axis, letter in enumerate(term) if letter not in kept]
    if not axes:
        return value, term
    summed = emitter.call(relax.op.sum, value, axis=axes, keepdims=False)
    return summed, "".join(letter for letter in term if letter in kept)


def _contract(
    emitter: Emitter, a: Value, a_term: str, b: Value, b_term: str, later: set[str]
) -> tuple[Value, str]:
    """One matrix product over the letters that both operands have and nobody needs later."""
    a, a_term = _sum_out(emitter, a, a_term, later | set(b_term))
    b, b_term = _sum_out(emitter, b, b_term, later | set(a_term))
    sizes = dict(zip(b_term, shape_of(b), strict=True))
    for letter, size in zip(a_term, shape_of(a), strict=True):
        sizes[letter] = max(size, sizes.get(letter, 1))
    a = emitter.broadcast(a, [sizes[letter] for letter in a_term])
    b = emitter.broadcast(b, [sizes[letter] for letter in b_term])
    batch = [letter for letter in a_term if letter in b_term and letter in later]
    inner = [letter for letter in a_term if letter in b_term and letter not in later]
    rows = [letter for letter in a_term if letter not in b_term]
    columns = [letter for letter in b_term if letter not in a_term]
    left = _as_matrices(emitter, a, a_term, sizes, batch, rows, inner)
    right = _as_matrices(emitter, b, b_term, sizes, batch, inner, columns)
    order = "".join(batch + rows + columns)
    return emitter.reshape(matmul(emitter, left, right), [sizes[letter] for letter in order]), order


def _as_matrices(
    emitter: Emitter, value: Value, term: str, sizes: dict[str, int], *groups: list[str]
) -> Value:
    """The value as [batch, rows, columns], each group of letters flattened into one axis."""
    order = [letter for group in groups for letter in group]
    moved = emitter.transpose(value, [term.index(letter) for letter in order])
    return emitter.reshape(moved, [int(np.prod([sizes[letter] for letter in group])) for group in groups])
