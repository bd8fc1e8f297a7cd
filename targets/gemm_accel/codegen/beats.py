"""What moving a view costs: DRAM cycles an element, from the length of its contiguous runs."""

from targets.gemm_accel.codegen.transfers import transfers, whole
from targets.gemm_accel.codegen.views import View


def beats_per_element(view: View, dram_bytes_per_cycle: int) -> float:
    """DRAM cycles an element of a whole view: each run of contiguous bytes takes a whole number of cycles."""
    if view.size == 0:
        return 0.0
    moved = transfers(view, [whole(axis) for axis in view.axes], [0] * len(view.axes))
    beats = 0
    for transfer in moved:
        pieces, length = transfer.runs()
        beats += pieces * -(-length * view.buffer.element_bytes // dram_bytes_per_cycle)
    return beats / view.size
