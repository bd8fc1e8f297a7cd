"""How many processors TVM's kernels run on."""

import os


def use_all_processors() -> None:
    """Lets kernels run on every processor, unless TVM_NUM_THREADS or OMP_NUM_THREADS say how many; before the first runs.

    TVM alone takes half of the processors, as if each were two threads of one core, and binds the calling thread to one of
    them, which other libraries' threads (onnxruntime's, the simulator's) would then share.
    """
    os.environ.setdefault("TVM_BIND_THREADS", "0")
    if "OMP_NUM_THREADS" not in os.environ:
        os.environ.setdefault("TVM_NUM_THREADS", str(os.cpu_count() or 1))
