"""Moves of every spelling as the few of matrix form, against the same moves of numpy."""

from collections.abc import Callable

import numpy as np
import pytest
from tvm import relax

from passes.normalise_moves import normalise_moves
from passes.rewrite import Emitter, bindings_of, callee_name
from tests.passes.support import build_module, constant, listing, random_array, run

op = relax.op
X = (4, 6, 5)
KEPT = {
    "relax.reshape",
    "relax.permute_dims",
    "relax.strided_slice",
    "relax.concat",
    "relax.broadcast_to",
    "relax.nn.pad",
    "relax.take",
    "relax.multiply",
}
"""The moves that are left, and the multiplication that cuts out a triangle."""

Move = tuple[Callable[[relax.Expr], relax.Expr], Callable[[np.ndarray], np.ndarray]]


def indices(*places: int) -> relax.Expr:
    return constant(np.array(places), "int64")


MOVES: dict[str, Move] = {
    "expand_dims": (lambda x: op.expand_dims(x, [0, 3]), lambda x: x[None, :, :, None]),
    "squeeze": (lambda x: op.squeeze(op.reshape(x, [1, 24, 1, 5]), [0]), lambda x: x.reshape(24, 1, 5)),
    "flatten": (op.flatten, np.ravel),
    "transpose without axes": (op.permute_dims, lambda x: x.transpose()),
    "two transpositions": (
        lambda x: op.permute_dims(op.permute_dims(x, [1, 2, 0]), [1, 0, 2]),
        lambda x: x.transpose(2, 1, 0),
    ),
    "stack": (lambda x: op.stack([x, x], axis=1), lambda x: np.stack([x, x], axis=1)),
    "tile": (lambda x: op.tile(x, [2, 1, 3]), lambda x: np.tile(x, (2, 1, 3))),
    "tile to a higher rank": (lambda x: op.tile(x, [2, 2, 1, 3]), lambda x: np.tile(x, (2, 2, 1, 3))),
    "repeat": (lambda x: op.repeat(x, 3, axis=1), lambda x: np.repeat(x, 3, axis=1)),
    "repeat of all": (lambda x: op.repeat(x, 2), lambda x: np.repeat(x, 2)),
    "flip": (lambda x: op.flip(x, axis=2), lambda x: np.flip(x, 2)),
    "slice": (lambda x: op.strided_slice(x, [0, -1], [-3, 1], [9, -1], [2, 1]), lambda x: x[-3:9:2, :, 1:-1]),
    "slice backwards": (
        lambda x: op.strided_slice(x, [1, 2], [5, 3], [-99, -99], [-2, -1]),
        lambda x: x[:, 5::-2, 3::-1],
    ),
    "take of a progression": (lambda x: op.take(x, indices(5, 3, 1), axis=1), lambda x: x[:, 5::-2]),
    "take of repetitions": (
        lambda x: op.take(x, indices(0, 0, 1, 1, 2, 2), axis=0),
        lambda x: np.repeat(x[:3], 2, 0),
    ),
    "take of one place often": (lambda x: op.take(x, indices(2, 2, 2), axis=2), lambda x: x[:, :, [2, 2, 2]]),
    "take of a matrix of places": (
        lambda x: op.take(x, constant(np.array([[0, 3], [2, 1]]), "int64"), axis=1),
        lambda x: x[:, [[0, 3], [2, 1]]],
    ),
    "take of a scalar place": (
        lambda x: op.take(x, constant(-1, "int64"), axis=1, mode="wrap"),
        lambda x: x[:, -1],
    ),
    "take of clipped places": (
        lambda x: op.take(x, indices(-1, 9), axis=1, mode="clip"),
        lambda x: x[:, [0, 5]],
    ),
    "take of irregular places": (
        lambda x: op.take(x, indices(*([0, 5, 1, 1, 4, 2, 0, 3] * 5)), axis=1),
        lambda x: x[:, [0, 5, 1, 1, 4, 2, 0, 3] * 5],
    ),
    "reflecting pad": (
        lambda x: op.nn.pad(x, [0, 0, 2, 1, 3, 0], "reflect"),
        lambda x: np.pad(x, [(0, 0), (2, 1), (3, 0)], mode="reflect"),
    ),
    "pad with the edge": (
        lambda x: op.nn.pad(x, [1, 2, 0, 0, 0, 3], "replicate"),
        lambda x: np.pad(x, [(1, 2), (0, 0), (0, 3)], mode="edge"),
    ),
    "circular pad": (
        lambda x: op.nn.pad(x, [1, 2, 0, 0, 0, 3], "circular"),
        lambda x: np.pad(x, [(1, 2), (0, 0), (0, 3)], mode="wrap"),
    ),
    "pad with a number": (
        lambda x: op.nn.pad(x, [1, 0, 0, 0, 0, 2], "constant", 0.5),
        lambda x: np.pad(x, [(1, 0), (0, 0), (0, 2)], constant_values=0.5),
    ),
    "lower triangle": (lambda x: op.tril(x, 1), lambda x: np.tril(x, 1)),
    "upper triangle": (lambda x: op.triu(x, -1), lambda x: np.triu(x, -1)),
    "concat with constants": (
        lambda x: op.concat([x, constant(np.ones((4, 1, 5)))], axis=1),
        lambda x: np.concatenate([x, np.ones((4, 1, 5), np.float32)], axis=1),
    ),
    "pixel shuffle": (
        lambda x: op.nn.pixel_shuffle(op.reshape(x, [1, 8, 3, 5]), 2),
        lambda x: x.reshape(1, 2, 2, 2, 3, 5).transpose(0, 1, 4, 2, 5, 3).reshape(1, 2, 6, 10),
    ),
}


@pytest.mark.parametrize("name", MOVES)
def test_a_move_of_matrix_form_moves_as_numpy_does(name: str) -> None:
    data = random_array(*X, seed=1)
    relaxed, expected = MOVES[name]
    module = normalise_moves(build_module(lambda emitter, x: relaxed(x), X))
    np.testing.assert_array_equal(run(module, data)[0], expected(data))
    names = {
        callee_name(module, b.value) for b in bindings_of(module["main"]) if isinstance(b.value, relax.Call)
    }
    assert names <= KEPT


def test_the_parts_of_a_split_are_slices() -> None:
    def body(emitter: Emitter, x: relax.Expr) -> tuple[relax.Expr, ...]:
        parts = emitter.bind("parts", relax.op.split(x, [2, 3], axis=1))
        return tuple(emitter.bind(f"part{i}", relax.TupleGetItem(parts, i)) for i in range(3))

    data = random_array(*X, seed=2)
    module = normalise_moves(build_module(body, X))
    for result, expected in zip(run(module, data), np.split(data, [2, 3], axis=1), strict=True):
        np.testing.assert_array_equal(result, expected)
    assert "split" not in "\n".join(listing(module))


def test_a_meshgrid_is_broadcasts() -> None:
    def body(emitter: Emitter, x: relax.Expr, y: relax.Expr) -> tuple[relax.Expr, ...]:
        grids = emitter.bind("grids", relax.op.meshgrid([x, y], indexing="ij"))
        return tuple(emitter.bind(f"grid{i}", relax.TupleGetItem(grids, i)) for i in range(2))

    x, y = random_array(3, seed=3), random_array(4, seed=4)
    module = normalise_moves(build_module(body, (3,), (4,)))
    for result, expected in zip(run(module, x, y), np.meshgrid(x, y, indexing="ij"), strict=True):
        np.testing.assert_array_equal(result, expected)


def test_a_gather_along_an_inner_axis_takes_rows_of_a_table() -> None:
    places = np.array([[3, 0], [1, 5]])
    data = random_array(*X, seed=5)
    module = normalise_moves(
        build_module(lambda emitter, x, i: relax.op.take(x, i, axis=1), X, ((2, 2), "int64"))
    )
    np.testing.assert_array_equal(run(module, data, places)[0], data[:, places])
    table = next(
        b.value.args[0]
        for b in bindings_of(module["main"])
        if " take(" in f" {callee_name(module, b.value)[6:]}("
    )
    assert [int(extent) for extent in table.ty.shape] == [6, 20]


def test_an_embedding_lookup_stays_as_it_is() -> None:
    table = constant(random_array(10, 4))
    module = normalise_moves(
        build_module(lambda emitter, i: relax.op.take(table, i, axis=0), ((2, 3), "int64"))
    )
    assert listing(module) == ["y = take(const[10, 4], x0)"]


def test_moves_of_integers_stay_on_the_host() -> None:
    module = normalise_moves(build_module(lambda emitter, x: relax.op.tile(x, [2]), ((3,), "int64")))
    assert listing(module) == ["y = tile(x0)"]


def test_chains_of_reshapes_become_one_and_moves_of_nothing_none() -> None:
    module = normalise_moves(
        build_module(
            lambda emitter, x: op.permute_dims(
                op.reshape(op.reshape(op.nn.pad(x, [0] * 6), [24, 5]), [2, 60]), [0, 1]
            ),
            X,
        )
    )
    assert [line.split(" = ")[1] for line in listing(module)] == ["reshape(x0, [2, 60])"]
