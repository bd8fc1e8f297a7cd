"""Writes a network's products for SCALE-Sim, so that cycles can be compared on an equal array.

Format: the topology of https://github.com/scalesim-project/scale-sim-v2 in its gemm mode, one product a row.
"""

from pathlib import Path

from nmc.files import make_directory, write_atomically
from nmc.package import Package

HEADER = "Layer,M,N,K,"


def scalesim_topology(package: Package) -> str:
    """One row for each product, and for each group of a grouped one: layer, rows, columns, depth."""
    rows = [HEADER]
    for product in package.manifest.products:
        layer = product.layer.replace(",", "_")
        for group in range(product.groups):
            name = layer if product.groups == 1 else f"{layer}_{group}"
            rows.append(f"{name},{product.rows},{product.columns},{product.depth},")
    return "\n".join(rows) + "\n"


def write_scalesim(directory: Path, package: Package) -> Path:
    """Writes MODEL_gemm.csv in the directory, made if needed; raises NmcError where that is not possible."""
    make_directory(directory)
    path = directory / f"{package.manifest.model.replace('/', '_')}_gemm.csv"
    write_atomically(path, scalesim_topology(package).encode())
    return path
