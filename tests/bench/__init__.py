"""Measurements of nmc, run by `make bench`."""
