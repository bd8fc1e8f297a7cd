"""A region of level 3 compiled to a program: graph, kernels, the plan of the memories, commands."""

from collections.abc import Sequence
from dataclasses import dataclass

from tvm import ir, relax

from targets.gemm_accel import isa
from targets.gemm_accel.codegen.aliases import without_aliases
from targets.gemm_accel.codegen.arena import ArenaPlan, Lifetime, plan_arena
from targets.gemm_accel.codegen.assembly import ARENA, Assembly
from targets.gemm_accel.codegen.buffers import Buffer, Place
from targets.gemm_accel.codegen.chains import Chain, chains_of, emit_chain
from targets.gemm_accel.codegen.depthwise import emit_depthwise
from targets.gemm_accel.codegen.forwarding import forwarded
from targets.gemm_accel.codegen.fusion import kernels_of
from targets.gemm_accel.codegen.gather import emit_gather
from targets.gemm_accel.codegen.gemm import emit_gemm
from targets.gemm_accel.codegen.graph import Graph, graph_of
from targets.gemm_accel.codegen.kernels import Kernel, buffers_read
from targets.gemm_accel.codegen.nodes import Depthwise, Gather, Gemm
from targets.gemm_accel.codegen.pointwise import emit_pointwise
from targets.gemm_accel.codegen.reuse import places_reused
from targets.gemm_accel.codegen.scratchpad import Scratchpad
from targets.gemm_accel.codegen.separable import Held
from targets.gemm_accel.codegen.separable_tiles import emit_separable
from targets.gemm_accel.codegen.views import View
from targets.gemm_accel.config import AcceleratorConfig
from targets.gemm_accel.program import Program, Tensor, make_program


@dataclass(frozen=True)
class CompiledRegion:
    """A program, the constant region it reads, and the arena's size with the least that any plan could
    reach (bytes)."""

    program: Program
    constants: bytes
    arena_bytes: int
    arena_lower_bound: int
    kernels: tuple[Kernel, ...]


def compile_region(
    function: relax.Function, config: AcceleratorConfig, module: ir.IRModule | None = None
) -> CompiledRegion:
    """Compiles a function of level 3; `module` holds the composites it calls by global name, if any.

    Raises UnsupportedOperatorError, naming the layer, for what is not part of matrix form.
    """
    # two patches of a depthwise convolution, with their weights, leave room for its epilogue
    return compile_graph(graph_of(function, module, config.scratchpad_bytes // 16), config)


def compile_graph(graph: Graph, config: AcceleratorConfig) -> CompiledRegion:
    """The program of a region's graph."""
    half = config.scratchpad_bytes // 2
    kernels = kernels_of(without_aliases(forwarded(graph.nodes)), config.table_slots)
    chains = chains_of(kernels, config, half)
    places, plan = _plan(graph, chains)
    addresses = {buffer: ARENA + address for buffer, address in places.items()}
    assembly = Assembly(config, addresses)
    held: Held | None = None
    for number, chain in enumerate(chains):
        # chains take turns in two halves, so that one loads its first tiles while another computes its last
        scratchpad = Scratchpad(half * (number % 2), half * (number % 2) + half)
        if chain.separable is not None:
            downward = held is not None and held.address > 0
            whole = Scratchpad(0, 2 * half, downward)
            held = emit_separable(assembly, *chain.separable, whole, held)
            continue
        held = None
        if len(chain.kernels) > 1:
            emit_chain(assembly, chain, scratchpad)
        else:
            emit_kernel(assembly, chain.kernels[0], scratchpad)
    commands, layers = assembly.finish()
    constants = assembly.constants.data()
    inputs, outputs = (
        [_tensor(view, addresses[view.buffer] - ARENA + len(constants)) for view in views]
        for views in (graph.inputs, graph.outputs)
    )
    program = make_program(commands, layers, inputs, outputs, len(constants), plan.bytes, config)
    return CompiledRegion(program, constants, plan.bytes, plan.lower_bound, tuple(kernels))


def emit_kernel(assembly: Assembly, kernel: Kernel, scratchpad: Scratchpad) -> None:
    """The commands of a kernel of any kind."""
    operation = None if kernel.head is None else kernel.head.operation
    if isinstance(operation, Gemm):
        emit_gemm(assembly, kernel, scratchpad)
    elif isinstance(operation, Depthwise):
        emit_depthwise(assembly, kernel, scratchpad)
    elif isinstance(operation, Gather):
        emit_gather(assembly, kernel, scratchpad)
    else:
        emit_pointwise(assembly, kernel, scratchpad)


def _plan(graph: Graph, chains: Sequence[Chain]) -> tuple[dict[Buffer, int], ArenaPlan]:
    """The place of each buffer in the arena, and the plan. What is passed on within a chain has none."""
    first: dict[Buffer, int] = {view.buffer: 0 for view in graph.inputs}
    last: dict[Buffer, int] = dict(first)
    for time, chain in enumerate(chains, start=1):
        for buffer in [b for kernel in chain.kernels for b in _buffers(kernel)]:
            if buffer.place is not Place.CONSTANT and buffer not in chain.passed - chain.stored:
                first.setdefault(buffer, time)
                last[buffer] = time
    for view in graph.outputs:
        first.setdefault(view.buffer, 0)
        last[view.buffer] = len(chains) + 1
    owner: dict[Buffer, Buffer] = {}
    for buffer, source in places_reused(chains, first, last).items():
        owner[buffer] = owner.get(source, source)
        last[owner[buffer]] = max(last[owner[buffer]], last[buffer])
    places = sorted((buffer for buffer in first if buffer not in owner), key=lambda buffer: first[buffer])
    plan = plan_arena([Lifetime(b.bytes, first[b], last[b]) for b in places])
    addresses = dict(zip(places, plan.addresses, strict=True))
    addresses |= {buffer: addresses[place] for buffer, place in owner.items()}
    return addresses, plan


def _buffers(kernel: Kernel) -> list[Buffer]:
    """The buffers that a kernel reads or writes."""
    return [*buffers_read(kernel), *(view.buffer for views in kernel.stores.values() for view in views)]


def _tensor(view: View, dram: int) -> Tensor:
    return Tensor(view.buffer.name, dram, isa.element_type(view.buffer.dtype), view.shape)
