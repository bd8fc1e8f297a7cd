"""Magika, Google's file-type classifier, on files of known type that an installation of nmc has anyway.

Features as magika's config.min.json and its `_extract_features_from_seekable` define them: the first 1024
bytes of the first 4096, stripped of leading white space, then the last 1024 bytes of the last 4096,
stripped of trailing white space; what is missing is filled with the token 256 on the far side.
"""

import functools
import hashlib
import importlib.util
import json
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.model import Array, Model, read_only, top1_accuracy
from models.packages import package_file

_BLOCK_BYTES = 4096
_HEAD_BYTES = 1024
_TAIL_BYTES = 1024
_PADDING_TOKEN = 256
_MODEL_DIRECTORY = "magika/models/standard_v3_3"


def features(content: bytes) -> Array:
    """Return what the model sees of a file: int32 [1, 2048], byte values or the padding token 256."""
    head = content[:_BLOCK_BYTES].lstrip()[:_HEAD_BYTES]
    tail = content[-_BLOCK_BYTES:].rstrip()[-_TAIL_BYTES:]
    row = np.full((1, _HEAD_BYTES + _TAIL_BYTES), _PADDING_TOKEN, np.int32)
    row[0, : len(head)] = list(head)
    row[0, row.shape[1] - len(tail) :] = list(tail)
    return row


@functools.cache
def class_names() -> tuple[str, ...]:
    """Return the names of the model's 214 classes, in the order of its output."""
    config = json.loads(package_file("magika", f"{_MODEL_DIRECTORY}/config.min.json").read_text())
    return tuple(config["target_labels_space"])


# Where the files come from: the standard library and packages that nmc or its tests depend on. Packages that
# merely happen to be installed are left out, so that every installation gives about the same data.
_PACKAGES = ("foolbox", "magika", "matplotlib", "numpy", "onnx", "scipy", "sklearn", "tvm", "tvm_ffi")

# Only endings that mean one thing: a .h may be C or C++, a .txt a CMake list or a requirements file.
_CLASS_OF_ENDING = {
    ".c": "c",
    ".cc": "cpp",
    ".cmake": "cmake",
    ".cpp": "cpp",
    ".css": "css",
    ".csv": "csv",
    ".f90": "fortran",
    ".gz": "gzip",
    ".hpp": "cpp",
    ".html": "html",
    ".jpg": "jpeg",
    ".js": "javascript",
    ".json": "json",
    ".md": "markdown",
    ".npy": "npy",
    ".npz": "npz",
    ".pdf": "pdf",
    ".png": "png",
    ".py": "python",
    ".pyi": "python",
    ".rst": "rst",
    ".so": "elf",
    ".svg": "svg",
    ".ttf": "ttf",
    ".wav": "wav",
}
_CALIBRATION_FILES_PER_ENDING = 8
_TEST_FILES_PER_ENDING = 40
_LEAST_FILE_BYTES = 128


@dataclass(frozen=True)
class _Files:
    calibration: tuple[Path, ...]
    test: tuple[Path, ...]


@functools.cache
def _files() -> _Files:
    """Return the files of both sets: so many of each ending, chosen by their relative paths alone."""
    by_ending: dict[str, list[tuple[str, Path]]] = {ending: [] for ending in _CLASS_OF_ENDING}
    for root in _roots():
        for path in root.rglob("*"):
            if path.suffix in by_ending and "site-packages" not in path.relative_to(root).parts:
                relative = path.relative_to(root.parent).as_posix()
                by_ending[path.suffix].append((hashlib.sha256(relative.encode()).hexdigest(), path))
    calibration: list[Path] = []
    test: list[Path] = []
    for found in by_ending.values():
        usable = [path for _, path in sorted(found) if _is_usable(path)]
        # A third for calibration where an ending is rare, so that the test set sees every kind too.
        split = min(_CALIBRATION_FILES_PER_ENDING, len(usable) // 3)
        calibration += usable[:split]
        test += usable[split : split + _TEST_FILES_PER_ENDING]
    return _Files(tuple(calibration), tuple(test))


def _is_usable(path: Path) -> bool:
    return path.is_file() and path.stat().st_size >= _LEAST_FILE_BYTES


def _roots() -> list[Path]:
    roots = [Path(sysconfig.get_path("stdlib"))]
    for package in _PACKAGES:
        specification = importlib.util.find_spec(package)
        if specification is not None and specification.submodule_search_locations:
            roots.append(Path(next(iter(specification.submodule_search_locations))))
    return roots


@read_only
def calibration() -> dict[str, Array]:
    """Return the features of the calibration files: {"bytes": int32 [samples, 1, 2048]}."""
    return {"bytes": np.stack([features(path.read_bytes()) for path in _files().calibration])}


@read_only
def test() -> dict[str, Array]:
    """Return the features of the test files: {"bytes": int32 [samples, 1, 2048]}."""
    return {"bytes": np.stack([features(path.read_bytes()) for path in _files().test])}


def labels() -> Array:
    """Return the class that each test file's ending stands for, int64 [samples]."""
    index = {name: position for position, name in enumerate(class_names())}
    return np.array([index[_CLASS_OF_ENDING[path.suffix]] for path in _files().test])


MODEL = Model(
    name="magika",
    description="Magika 3.3, file-type classifier on raw bytes: layer norm, GELU, convolution, 214 classes",
    shapes={"bytes": (1, _HEAD_BYTES + _TAIL_BYTES)},
    onnx_path=lambda: package_file("magika", f"{_MODEL_DIRECTORY}/model.onnx"),
    calibration=calibration,
    test=test,
    labels=labels,
    metric_name="agreement with the file's ending",
    metric=top1_accuracy,
)
