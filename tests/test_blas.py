"""Compiling uses one thread of numpy's, so that a package does not depend on the number of cores."""

from nmc.blas import one_blas_thread, thread_functions


def test_products_have_one_thread_inside_and_as_many_as_before_afterwards():
    threads = thread_functions()
    assert threads is not None, "numpy's own wheels have OpenBLAS"
    read, write = threads
    original = read()
    write(2)
    try:
        with one_blas_thread():
            assert read() == 1
        assert read() == 2
    finally:
        write(original)
