"""Random functions of level 3, and running them both ways: their bodies through LLVM, their commands in the
simulator."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from tvm import ir, relax

from nmc.pwl.quantised_table import QuantisedTable
from passes.matrix_form import elementwise, gemm, im2col, pwl
from passes.matrix_form.im2col import Window
from passes.rewrite import Emitter, dtype_of, shape_of, straight_line_body
from targets.cpu.build import build
from targets.gemm_accel.codegen import CompiledRegion, compile_region
from targets.gemm_accel.config import AcceleratorConfig
from targets.gemm_accel.simulator import Simulator

Parameter = tuple[tuple[int, ...], str]
Body = Callable[[Emitter, Sequence[relax.Expr]], relax.Expr]
SMALL = AcceleratorConfig(rows=4, columns=4, scratchpad_bytes=4096, accumulator_entries=64, table_slots=2)
"""So little memory that everything is cut into many tiles."""


def function_of(parameters: Sequence[Parameter], body: Body) -> ir.IRModule:
    """A module whose `main` computes `body`; the parameters are named p0, p1, …"""
    emitter = Emitter(relax.BlockBuilder(), layer="layer")
    variables = [relax.Var(f"p{i}", relax.TensorType(list(s), d)) for i, (s, d) in enumerate(parameters)]
    result = body(emitter, variables)
    block = straight_line_body(emitter.builder, emitter.bindings, result)
    function = relax.Function(variables, block, ret_ty=block.ty, is_pure=True)
    emitter.builder.add_func(function.with_attr("global_symbol", "main"), "main")
    return emitter.builder.get()


def random_inputs(parameters: Sequence[Parameter], rng: np.random.Generator) -> list[np.ndarray]:
    """Values over the whole range of each type."""
    return [_integers(rng, shape, dtype) for shape, dtype in parameters]


def compiled(module: ir.IRModule, config: AcceleratorConfig = SMALL) -> CompiledRegion:
    """The program of a module's main function."""
    return compile_region(module["main"], config, module)


def assert_equal_to_bodies(
    parameters: Sequence[Parameter],
    body: Body,
    config: AcceleratorConfig = SMALL,
    inputs: Sequence[np.ndarray] | None = None,
) -> CompiledRegion:
    """Compiles the body both ways and requires equal outputs, to the bit, on random inputs."""
    module = function_of(parameters, body)
    arrays = list(inputs) if inputs is not None else random_inputs(parameters, np.random.default_rng(0))
    expected = build(module).run(arrays)
    region = compiled(module, config)
    simulator = Simulator(region.program, region.constants)
    outputs = simulator.run({f"p{i}": array for i, array in enumerate(arrays)})
    for tensor, wanted in zip(region.program.outputs, expected, strict=True):
        found = outputs[tensor.name]
        assert found.dtype == wanted.dtype and found.shape == wanted.shape
        np.testing.assert_array_equal(found, wanted)
    return region


def _integers(rng: np.random.Generator, shape: Sequence[int], dtype: str) -> np.ndarray:
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, tuple(shape), endpoint=True).astype(dtype)


def _bits(dtype: str) -> int:
    return int(dtype.removeprefix("int"))


@dataclass
class Draw:
    """Emits random operations; every number comes from `rng`."""

    emitter: Emitter
    rng: np.random.Generator

    def choice(self, items: Sequence):
        """One of the items."""
        return items[int(self.rng.integers(len(items)))]

    def type(self) -> str:
        """An element type, the narrow ones more often."""
        return str(self.choice(["int16", "int16", "int8", "int32"]))

    def constant(self, shape: Sequence[int], dtype: str) -> relax.Expr:
        """A random constant."""
        return self.emitter.constant(_integers(self.rng, shape, dtype), dtype)

    def gemm(self, a: relax.Expr, b: relax.Expr, dtype: str, uniform: bool = False) -> relax.Expr:
        """A gemm whose results use the range of its type."""
        groups, _, depth = shape_of(a)
        columns = shape_of(b)[2]
        if _bits(dtype_of(a)) + _bits(dtype_of(b)) - 2 + depth.bit_length() > 46:
            a = self.pwl(a, "int16")
        shape = (int(self.choice([1, groups])), columns)
        bits = _bits(dtype_of(a)) + _bits(dtype_of(b)) - 2 + max(depth, 1).bit_length()
        shift = min(max(31 + bits - _bits(dtype), 17), 62)
        bias = self.rng.integers(-(1 << min(bits, 44)), 1 << min(bits, 44), shape)
        multiplier = self.rng.integers(1 << 30, (1 << 31) - 1, shape)
        if uniform:
            bias, multiplier = np.full_like(bias, bias.flat[0]), np.full_like(multiplier, multiplier.flat[0])
        constants = [
            self.emitter.constant(bias, "int64"),
            self.emitter.constant(multiplier, "int32"),
            self.emitter.constant(np.full(shape, shift), "int32"),
        ]
        return self.emitter.emit(gemm.gemm(self.emitter, a, b, *constants, dtype))

    def add(self, a: relax.Expr, b: relax.Expr, dtype: str) -> relax.Expr:
        """A sum or a difference."""
        ma, mb = (int(v) for v in self.rng.integers(-(1 << 29), 1 << 29, 2))
        shift = 29 + max(_bits(dtype_of(a)), _bits(dtype_of(b))) - _bits(dtype)
        return self.emitter.emit(elementwise.add(self.emitter, a, b, ma, mb, min(max(shift, 1), 62), dtype))

    def hadamard(self, a: relax.Expr, b: relax.Expr, dtype: str) -> relax.Expr:
        """A product of two tensors of which at most one is wide."""
        shift = 29 + _bits(dtype_of(a)) + _bits(dtype_of(b)) - _bits(dtype)
        multiplier = int(self.rng.integers(1 << 30, (1 << 31) - 1))
        return self.emitter.emit(
            elementwise.hadamard(self.emitter, a, b, multiplier, min(max(shift, 17), 62), dtype)
        )

    def pwl(self, x: relax.Expr, dtype: str) -> relax.Expr:
        """A random table of a random addressing."""
        return self.emitter.emit(pwl.pwl(self.emitter, x, random_table(self.rng, dtype_of(x), dtype), dtype))

    def im2col(self, x: relax.Expr, window: Window, fill: int = 0) -> relax.Expr:
        """Windows as the rows of a matrix."""
        return self.emitter.emit(im2col.im2col(self.emitter, x, window, float(fill)))

    def window(self, spatial: Sequence[int], groups: int = 1) -> Window:
        """A random window that takes at least one position along each axis."""
        rank = len(spatial)
        kernel = [int(self.rng.integers(1, min(4, extent) + 1)) for extent in spatial]
        dilations = [
            int(self.rng.integers(1, 3)) if k * 2 <= s else 1 for k, s in zip(kernel, spatial, strict=True)
        ]
        strides, begins, ends = (
            self.rng.integers(low, high, rank).tolist() for low, high in ((1, 4), (0, 3), (0, 3))
        )
        return Window(*(tuple(v) for v in (kernel, strides, dilations, begins, ends)), groups)

    def move(self, x: relax.Expr) -> relax.Expr:
        """A random move of a tensor."""
        shape = shape_of(x)
        rank = len(shape)
        axis = int(self.rng.integers(rank)) if rank else 0
        kinds = ["reshape", "expand"] + (
            ["permute", "slice", "slice", "pad", "take", "split", "broadcast"] if rank else []
        )
        kind = self.choice(kinds)
        if kind == "reshape":
            return self.emitter.emit(relax.op.reshape(x, self.other_shape(shape)))
        if kind == "expand":
            return self.emitter.emit(relax.op.expand_dims(x, [axis]))
        if kind == "permute":
            return self.emitter.emit(relax.op.permute_dims(x, [int(a) for a in self.rng.permutation(rank)]))
        if kind == "slice":
            step = int(self.choice([1, 1, 2, 3, -1, -2]))
            begin, end = sorted(int(v) for v in self.rng.choice(shape[axis] + 1, 2, replace=shape[axis] == 0))
            bounds = (begin, end) if step > 0 else (end - 1, begin - 1 if begin else -shape[axis] - 1)
            return self.emitter.emit(relax.op.strided_slice(x, [axis], [bounds[0]], [bounds[1]], [step]))
        if kind == "pad":
            widths = [0] * (2 * rank)
            widths[2 * axis : 2 * axis + 2] = self.rng.integers(0, 3, 2).tolist()
            return self.emitter.emit(relax.op.nn.pad(x, widths, "constant", int(self.rng.integers(-5, 5))))
        if kind == "take":
            count = int(self.rng.integers(1, 5))
            index = self.rng.integers(0, shape[axis], count)
            return self.emitter.emit(relax.op.take(x, relax.const(index, "int64"), axis))
        if kind == "split":
            cut = int(self.rng.integers(0, shape[axis])) if shape[axis] > 1 else 0
            if not cut:
                return x
            parts = self.emitter.emit(relax.op.split(x, [cut], axis))
            return self.emitter.bind(
                self.emitter.fresh_name(), relax.TupleGetItem(parts, int(self.rng.integers(2)))
            )
        return self.emitter.emit(relax.op.broadcast_to(x, [2, *shape]))

    def other_shape(self, shape: Sequence[int]) -> list[int]:
        """A random shape of as many elements."""
        primes = [p for extent in shape for p in _primes(extent)]
        result = [1] * int(self.rng.integers(1, 5))
        for prime in primes:
            result[int(self.rng.integers(len(result)))] *= prime
        return result


def _primes(number: int) -> list[int]:
    factors, divisor = [], 2
    while number > 1:
        while number % divisor == 0:
            factors.append(divisor)
            number //= divisor
        divisor += 1
    return factors


def random_table(rng: np.random.Generator, in_type: str, out_type: str) -> QuantisedTable:
    """A table of random segments whose results use the range of the output's type."""
    addressing = str(rng.choice(["uniform", "octave", "breakpoints", "blocks", "octave-blocks"]))
    bits, out_bits = _bits(in_type), _bits(out_type)
    entries = int(rng.choice([1, 2, 7, 16, 33])) if addressing in ("uniform", "breakpoints") else 32
    blocks = np.stack([np.arange(8) * 4, rng.integers(0, bits, 8), rng.integers(1, 5, 8)], axis=1)
    shift = max(bits + 15 - out_bits, 0)
    limit = 1 << (bits - 1)
    values = {field.name: None for field in fields(QuantisedTable)}
    return QuantisedTable(
        **values
        | {
            "addressing": addressing,
            "origin": int(rng.integers(-limit, 0)),
            "shift": max(bits - 5, 0),
            "e_min": int(rng.integers(0, bits // 2)),
            "mantissa_bits": int(rng.integers(0, 4)),
            "signed": addressing.startswith("octave") and bool(rng.integers(2)),
            "blocks": (blocks if addressing.endswith("blocks") else blocks[:0]).astype(np.int32),
            "breakpoints": np.sort(rng.integers(-limit, limit, entries - 1)).astype(np.int32),
            "slopes": rng.integers(-(1 << 15), 1 << 15, entries).astype(np.int16),
            "intercepts": rng.integers(-(1 << 15 + bits), 1 << 15 + bits, entries) >> 2,
            "shifts": rng.integers(max(shift - 2, 0), shift + 1, entries).astype(np.uint8),
            "output_bits": out_bits,
        }
    )


def random_graph(seed: int, operations: int) -> tuple[list[Parameter], Body]:
    """Parameters and a body of random operations on them; its outputs are some of the values computed."""
    rng = np.random.default_rng(seed)
    parameters: list[Parameter] = []
    for _ in range(int(rng.integers(1, 3))):
        shape = tuple(int(v) for v in rng.choice([1, 2, 3, 4, 5, 6, 8, 12], int(rng.integers(1, 5))))
        parameters.append((shape, str(rng.choice(["int16", "int8", "int32"], p=[0.6, 0.2, 0.2]))))

    def body(emitter: Emitter, variables: Sequence[relax.Expr]) -> relax.Expr:
        draw = Draw(emitter, rng)
        values = list(variables)
        for number in range(operations):
            emitter.layer = f"layer{number}"
            values.append(_random_operation(draw, values))
        outputs = values[-1:] + ([draw.choice(values)] if rng.integers(2) else [])
        return outputs[0] if len(outputs) == 1 else relax.Tuple(outputs)

    return parameters, body


LARGEST = 4000
"""Elements of a random graph's tensor."""


def _random_operation(draw: Draw, values: Sequence[relax.Expr]) -> relax.Expr:
    # the latest values are likelier to be used, so that chains form
    x = values[-1] if draw.rng.integers(2) else draw.choice(values)
    size, rank = int(np.prod(shape_of(x))), len(shape_of(x))
    kind = draw.choice(["move", "move", "pwl", "add", "hadamard", "gemm", "gemm", "window", "concat"])
    if size == 0 or kind == "move":
        return draw.move(x) if size and size <= LARGEST // 2 else x
    if kind == "pwl":
        return draw.pwl(x, draw.type())
    if kind in ("add", "hadamard"):
        other = _broadcastable(draw, x, [v for v in values if kind == "add" or _bits(dtype_of(v)) < 32])
        return getattr(draw, kind)(*(x, other)[:: draw.choice([1, -1])], draw.type())
    if kind == "gemm":
        return _random_gemm(draw, x, values)
    if kind == "window" and 3 <= rank <= 5 and size < 600:
        return _random_convolution(draw, x)
    if kind == "concat" and rank:
        axis = int(draw.rng.integers(rank))
        parts = [v for v in values if dtype_of(v) == dtype_of(x) and shape_of(v) == shape_of(x)]
        return draw.emitter.emit(relax.op.concat([x, draw.choice(parts)], axis)) if size < LARGEST // 2 else x
    return draw.pwl(x, draw.type())


def _broadcastable(draw: Draw, x: relax.Expr, values: Sequence[relax.Expr]) -> relax.Expr:
    """A value, or a constant, that broadcasts with x."""
    shape = shape_of(x)
    fitting = [
        v
        for v in values
        if len(shape_of(v)) <= len(shape)
        and all(a in (1, b) for a, b in zip(shape_of(v)[::-1], shape[::-1], strict=False))
    ]
    if fitting and draw.rng.integers(3):
        return draw.choice(fitting)
    return draw.constant(
        [int(draw.choice([1, extent])) for extent in shape], str(draw.choice(["int16", "int8"]))
    )


def _random_gemm(draw: Draw, x: relax.Expr, values: Sequence[relax.Expr]) -> relax.Expr:
    shape = [1] * (3 - len(shape_of(x))) + list(shape_of(x))
    shape = [int(np.prod(shape[:-2])), *shape[-2:]]
    a = draw.emitter.emit(relax.op.reshape(x, shape))
    if draw.rng.integers(2):
        a = draw.emitter.emit(relax.op.permute_dims(a, [0, 2, 1]))
    groups, rows, depth = shape_of(a)
    fitting = [
        v
        for v in values
        if shape_of(v)[:-1] == (groups, depth) and _bits(dtype_of(v)) < 32 and len(shape_of(v)) == 3
    ]
    columns = int(draw.choice([1, 1, 3, 8, 17]))
    if groups * rows * columns > LARGEST:
        columns = 1
    b = (
        draw.choice(fitting)
        if fitting
        else draw.constant((groups, depth, columns), str(draw.choice(["int16", "int8"])))
    )
    return draw.gemm(a, b, draw.type(), uniform=bool(draw.rng.integers(2)))


def _random_convolution(draw: Draw, x: relax.Expr) -> relax.Expr:
    """A convolution as the lowering writes it: windows, gemm, reshape, permute, reshape."""
    batch, channels, *spatial = shape_of(x)
    groups = int(draw.choice([1, channels] + [2] * (channels % 2 == 0)))
    window = draw.window(spatial, groups)
    matrix = draw.im2col(x, window, int(draw.rng.integers(-3, 3)))
    columns = int(draw.choice([1, 2, 5]))
    weights = draw.constant((groups, shape_of(matrix)[2], columns), str(draw.choice(["int16", "int8"])))
    product = draw.gemm(matrix, weights, draw.type())
    outputs = window.output_extents(spatial)
    rank = len(spatial)
    emit = draw.emitter.emit
    image = emit(relax.op.reshape(product, [groups, batch, *outputs, columns]))
    image = emit(relax.op.permute_dims(image, [1, 0, rank + 2, *range(2, rank + 2)]))
    return emit(relax.op.reshape(image, [batch, groups * columns, *outputs]))
