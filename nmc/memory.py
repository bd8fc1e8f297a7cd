"""What the process does with memory: how often it looks for unreachable objects, and what it gives back."""

import ctypes
import gc

YOUNG_OBJECTS = 100_000
"""New objects between two searches for unreachable ones; a compilation makes millions, almost all of which stay."""


def collect_rarely() -> None:
    """Leaves what exists now, such as imported modules, out of the search for unreachable objects, and searches seldom."""
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 10, 10)


def release_freed_memory() -> None:
    """Shrinks the process to what it uses; does nothing where the C library has no such function.

    glibc keeps freed blocks below 32 MiB in its heap, and after a step that handled every weight of a model these
    are as large as the model.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
