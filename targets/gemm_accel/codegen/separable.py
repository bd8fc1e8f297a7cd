"""A depthwise convolution with the products around it, which can run together, tile by tile: what makes them so."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from targets.gemm_accel.codegen.buffers import Buffer
from targets.gemm_accel.codegen.kernels import Kernel, Step, depthwise_shape
from targets.gemm_accel.codegen.nodes import Depthwise, Gemm
from targets.gemm_accel.codegen.views import View, dense_axes, merged, permuted, reshaped


@dataclass(frozen=True, eq=False)
class Separable:
    """The kernels: a depthwise convolution, and before or behind it, or both, a product with a constant.

    `behind_image` is the product behind with axes [batch, height, width, columns].
    """

    before: Kernel | None
    depthwise: Kernel
    behind: Kernel | None = None
    behind_image: Kernel | None = None

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """All kernels in order."""
        return tuple(k for k in (self.before, self.depthwise, self.behind) if k is not None)

    @property
    def passed(self) -> frozenset[Buffer]:
        """The buffers between the kernels."""
        return frozenset(view.buffer for kernel in self.kernels[:-1] for view in stored_views(kernel))

    @property
    def operation(self) -> Depthwise:
        """The depthwise convolution."""
        return depthwise_of(self.depthwise)


def gemm_of(kernel: Kernel) -> Gemm:
    """The product that heads a kernel."""
    assert kernel.head is not None and isinstance(kernel.head.operation, Gemm)
    return kernel.head.operation


def depthwise_of(kernel: Kernel) -> Depthwise:
    """The depthwise convolution that heads a kernel."""
    assert kernel.head is not None and isinstance(kernel.head.operation, Depthwise)
    return kernel.head.operation


def stored_views(kernel: Kernel) -> list[View]:
    """The places that a kernel writes to."""
    return [view for views in kernel.stores.values() for view in views]


@dataclass(frozen=True)
class Held:
    """A whole tensor that the kernel before has left in the scratchpad, dense, for the next."""

    buffer: Buffer
    address: int


def separables(kernels: Sequence[Kernel], is_passed: Callable[[Buffer], bool]) -> Iterator[Separable]:
    """The ways to take a depthwise convolution among the first two kernels together with its neighbours. `is_passed` says
    of a buffer whether one kernel alone writes it and one alone reads it."""
    for place in range(min(2, len(kernels))):
        kernel = kernels[place]
        if kernel.head is None or not isinstance(kernel.head.operation, Depthwise):
            continue
        before = kernels[0] if place == 1 and _makes_patches(kernels[0], kernel, is_passed) else None
        rest = kernels[place + 1 : place + 2]
        behind = rest[0] if rest and _takes_tiles(kernel, rest[0], is_passed) else None
        if place == 1 and before is None:
            continue
        if before is not None:
            yield Separable(before, kernel)
        if behind is not None:
            yield Separable(before, kernel, behind, _over_image(behind, depthwise_of(kernel)))


def _makes_patches(before: Kernel, depthwise: Kernel, is_passed: Callable[[Buffer], bool]) -> bool:
    operation = depthwise_of(depthwise)
    if not _is_product(before) or before.views() or operation.fill != 0:
        return False
    batch, channels, height, width = operation.x.shape
    image = (batch, height, width, channels)
    return (
        _passes(before, operation.x.buffer, is_passed)
        and all(view.buffer is not operation.x.buffer for view in depthwise.views())
        and is_dense(permuted(operation.x, (0, 2, 3, 1)), image)
        and before.extents == (1, batch * height * width, channels)
        and reshaped(gemm_of(before).a, (batch, height, width, gemm_of(before).a.shape[2])) is not None
    )


def _takes_tiles(depthwise: Kernel, behind: Kernel, is_passed: Callable[[Buffer], bool]) -> bool:
    if not _is_product(behind):
        return False
    a = gemm_of(behind).a
    return (
        _passes(depthwise, a.buffer, is_passed)
        and is_dense(a, (1, *_matrix(depthwise)))
        and all(view.buffer is not a.buffer for view in behind.views())
        and _over_image(behind, depthwise_of(depthwise)) is not None
    )


def _matrix(depthwise: Kernel) -> tuple[int, int]:
    """The pixels and the channels of a depthwise convolution's result."""
    *image, channels = depthwise_shape(depthwise_of(depthwise))
    return math.prod(image), channels


def _is_product(kernel: Kernel) -> bool:
    """Whether a kernel is a product with a constant, for one group."""
    if kernel.head is None or not isinstance(kernel.head.operation, Gemm):
        return False
    gemm = kernel.head.operation
    return gemm.b.buffer.value is not None and gemm.a.shape[0] == 1


def _passes(kernel: Kernel, buffer: Buffer, is_passed: Callable[[Buffer], bool]) -> bool:
    """Whether the whole buffer, in order, is all that a kernel stores, and for one reader alone."""
    stored = stored_views(kernel)
    return (
        len(stored) == 1
        and stored[0].buffer is buffer
        and is_passed(buffer)
        and is_dense(stored[0], kernel.extents)
    )


def is_dense(view: View, shape: Sequence[int]) -> bool:
    """Whether a view is the whole buffer as a tensor of this shape in C order."""
    axes = tuple(merged(axis) for axis in view.axes)
    whole = dense_axes(shape)
    return view.is_plain and not any(view.origin) and axes == whole and view.size == view.buffer.size


def _over_image(kernel: Kernel, operation: Depthwise) -> Kernel | None:
    """A product behind with axes [batch, height, width, columns] in the place of [1, rows, columns]; None where a view
    cannot be cut so."""
    shape = (*depthwise_shape(operation)[:3], kernel.extents[2])
    steps = []
    for step in kernel.steps:
        views = [None if each.view is None else reshaped(each.view, shape) for each in step.operands]
        if any(old.view is not None and new is None for old, new in zip(step.operands, views, strict=True)):
            return None
        operands = (replace(old, view=new) for old, new in zip(step.operands, views, strict=True))
        steps.append(Step(step.node, tuple(operands)))
    stores: dict[int, tuple[View, ...]] = {}
    for value, places in kernel.stores.items():
        cut = [reshaped(view, shape) for view in places]
        if None in cut:
            return None
        stores[value] = tuple(view for view in cut if view is not None)
    return Kernel(kernel.head, tuple(steps), shape, stores)
