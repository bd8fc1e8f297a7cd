"""Gives memory that was freed back to the system, which the C library otherwise keeps for later."""

import ctypes


def release_freed_memory() -> None:
    """Shrinks the process to what it uses; does nothing where the C library has no such function.

    glibc keeps freed blocks below 32 MiB in its heap, and after a step that handled every weight of a model these
    are as large as the model.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
