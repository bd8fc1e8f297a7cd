"""Keeps numpy's matrix products on one thread while a model is compiled.

How OpenBLAS splits a product among threads changes the order of its sums: measured ranges, and so the package, would
depend on the number of cores. The products of calibration are also small enough that waiting threads cost more than
they help.
"""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module

SPELLINGS = ("scipy_openblas_{}64_", "scipy_openblas_{}", "openblas_{}64_", "openblas_{}")
"""How builds of OpenBLAS name their functions; the first is that of numpy's own wheels."""


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """One thread inside, as many as before afterwards; nothing changes where numpy has another library."""
    threads = thread_functions()
    if threads is None:
        yield
        return
    read, write = threads
    before = read()
    write(1)
    try:
        yield
    finally:
        write(before)


def thread_functions() -> tuple[Callable[[], int], Callable[[int], object]] | None:
    """What reads and what sets the number of OpenBLAS's threads; None where numpy has another library."""
    # the functions of a library that an extension module is linked to are found through the module
    library = ctypes.CDLL(str(import_module("numpy._core._multiarray_umath").__file__))
    for spelling in SPELLINGS:
        read = getattr(library, spelling.format("get_num_threads"), None)
        write = getattr(library, spelling.format("set_num_threads"), None)
        if read is not None and write is not None:
            return read, write
    return None
