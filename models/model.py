"""What every model of this folder offers: an ONNX file, calibration data, labelled test data, a metric."""

import functools
import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from models.graph import save_model

Array = npt.NDArray[Any]

DataSet = Mapping[str, Array]
"""One array for each input or output, by name, with a leading sample axis: [samples, *shape in the model]."""


@dataclass(frozen=True)
class Model:
    """A real model with its data.

    `shapes` gives the input shapes to compile for (batch 1), `labels` what the test samples truly are, and
    `metric(outputs, labels)` the share of test samples, from 0 to 1, that outputs get right.
    """

    name: str
    description: str
    shapes: Mapping[str, tuple[int, ...]]
    onnx_path: Callable[[], Path]
    calibration: Callable[[], DataSet]
    test: Callable[[], DataSet]
    labels: Callable[[], Array]
    metric_name: str
    metric: Callable[[DataSet, Array], float]


def top1_accuracy(outputs: DataSet, labels: Array) -> float:
    """Return the share of samples whose largest score in the output [samples, 1, classes] is the label."""
    (scores,) = outputs.values()
    return float(np.mean(scores.reshape(len(labels), -1).argmax(axis=1) == labels))


def cached_onnx(name: str, build: Callable[[], onnx.ModelProto]) -> Path:
    """Return the file that holds what `build` makes, building it at the first call only.

    The file lies in build/models of the repository, or in the directory that NMC_MODEL_CACHE names. Its name
    carries a digest of this folder's sources, so that a changed builder is never answered with an old model.
    """
    folder = Path(__file__).resolve().parent
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(folder.glob("*.py")))).hexdigest()[
        :12
    ]
    directory = Path(os.environ.get("NMC_MODEL_CACHE", folder.parent / "build" / "models"))
    path = directory / f"{name}-{digest}.onnx"
    if not path.exists():
        save_model(build(), path)
    return path


def read_only(load: Callable[[], dict[str, Array]]) -> Callable[[], dict[str, Array]]:
    """Return `load`, called at most once, its arrays protected from writing because callers share them."""

    @functools.cache
    def loaded() -> dict[str, Array]:
        arrays = load()
        for array in arrays.values():
            array.flags.writeable = False
        return arrays

    return loaded
