"""The moves of matrix form: Relax operators that only rearrange elements, whatever their type."""

REARRANGING = frozenset(
    {
        "relax.reshape",
        "relax.permute_dims",
        "relax.strided_slice",
        "relax.expand_dims",
        "relax.squeeze",
        "relax.flatten",
        "relax.broadcast_to",
    }
)
"""Moves of one tensor that bring nothing from elsewhere."""

MOVES = REARRANGING | {"relax.concat", "relax.split", "relax.take", "relax.nn.pad"}
"""Each keeps its input's element type and scale. `take` gathers along one axis by a constant or a computed index;
`nn.pad` fills with a constant."""
