"""The moves of matrix form: Relax operators that only rearrange elements, whatever their type."""

MOVES = frozenset(
    {
        "relax.reshape",
        "relax.permute_dims",
        "relax.strided_slice",
        "relax.concat",
        "relax.expand_dims",
        "relax.squeeze",
        "relax.broadcast_to",
        "relax.split",
        "relax.take",
        "relax.nn.pad",
        "relax.flatten",
    }
)
"""Each keeps its input's element type and scale. `take` gathers along one axis by a constant or a computed index;
`nn.pad` fills with a constant."""
