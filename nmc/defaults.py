"""Defaults that options, the Python API and the command line share; importing them costs nothing."""

DEFAULT_MAX_LOSS = 0.004
"""How far from 1 the outputs' smallest cosine with the floats may be under automatic bits."""
