"""Reads and checks what a user gives a model: DATA.npz, one array an input with a leading sample axis."""

import io
import warnings
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from nmc.errors import CalibrationError
from nmc.files import read_bytes, write_atomically
from nmc.quant.formats import MASKED

NPY_BEGINNING, ZIP_BEGINNINGS = b"\x93NUMPY", (b"PK\x03\x04", b"PK\x05\x06")
"""What files of one array begin with, and archives of several or of none."""


class Tensor(Protocol):
    """What is asked of an input's description: its name, static shape, element type as in `float32`, of how many rows its
    values are indices, if they are, and whether they may be minus infinity."""

    @property
    def name(self) -> str: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> str: ...

    @property
    def index_limit(self) -> int | None: ...

    @property
    def is_mask(self) -> bool: ...


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a .npz file by name; raises CalibrationError for anything else, pickles included."""
    content = read_bytes(path, "data file")
    if content.startswith(NPY_BEGINNING):
        raise CalibrationError(
            f"'{path}' holds one array without a name; write a .npz file: numpy.savez(FILE, INPUT=array)"
        )
    if not content.startswith(ZIP_BEGINNINGS):
        raise CalibrationError(f"'{path}' is not a readable .npz file; write it with numpy.savez")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, KeyError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise CalibrationError(
            f"'{path}' is not a readable .npz file of plain arrays; write it with numpy.savez: {error}"
        ) from error


def read_npy(path: Path) -> np.ndarray:
    """The array of a .npy file; raises CalibrationError for any other content."""
    content = read_bytes(path, "array file")
    try:
        array = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise CalibrationError(
            f"'{path}' is not a readable .npy file; write it with numpy.save: {error}"
        ) from error
    if not isinstance(array, np.ndarray):
        raise CalibrationError(f"'{path}' holds several arrays; give a .npy file that holds one")
    return array


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes named arrays as .npz, uncompressed, atomically."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.save(member, np.asarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())
    write_atomically(path, buffer.getvalue())


def checked_samples(
    arrays: Mapping[str, np.ndarray], inputs: Sequence[Tensor], source: str
) -> dict[str, np.ndarray]:
    """The arrays in the inputs' element types: each [samples, *input shape], one or more samples.

    Minus infinity in a mask becomes MASKED. Raises one CalibrationError that lists every wrong name, shape, element type
    and value; `source` names the file. Arrays that no input has the name of are left out, with a warning, as long as no
    input is missing: a data file often holds the labels too.
    """
    problems = _name_problems(arrays, inputs)
    if all(tensor.name in arrays for tensor in inputs):
        for problem in problems:
            warnings.warn(f"{source}: {problem}; ignored", stacklevel=2)
        problems = []
    samples: dict[str, np.ndarray] = {}
    for tensor in inputs:
        if tensor.name in arrays:
            array = np.asarray(arrays[tensor.name])
            found = _sample_shape_problem(array, tensor) or _value_problem(array, tensor)
            if found:
                problems.append(found)
            else:
                samples[tensor.name] = _converted(array, tensor)
    counts = {name: len(array) for name, array in samples.items()}
    if not problems and len(set(counts.values())) > 1:
        listed = ", ".join(f"'{name}' {count}" for name, count in counts.items())
        problems.append(f"every input needs the same number of samples, but there are: {listed}")
    _raise_if(problems, source)
    return samples


def checked_inputs(
    arrays: Mapping[str, np.ndarray], inputs: Sequence[Tensor], finite: bool = True
) -> dict[str, np.ndarray]:
    """The arrays of one run in the inputs' element types: each of exactly the input's shape.

    Minus infinity in a mask becomes MASKED. Raises one CalibrationError that lists every wrong name, shape, element type
    and value; `finite` says whether infinities and NaN are wrong, as they are where floats become integers.
    """
    problems = _name_problems(arrays, inputs)
    values: dict[str, np.ndarray] = {}
    for tensor in inputs:
        if tensor.name not in arrays:
            continue
        array = np.asarray(arrays[tensor.name])
        if array.shape != tuple(tensor.shape):
            problems.append(
                f"input '{tensor.name}' has shape {_text(array.shape)}, expected {_text(tensor.shape)}"
            )
            continue
        found = _value_problem(array, tensor, finite)
        if found:
            problems.append(found)
        else:
            values[tensor.name] = _converted(array, tensor)
    _raise_if(problems, "inputs")
    return values


def _name_problems(arrays: Mapping[str, np.ndarray], inputs: Sequence[Tensor]) -> list[str]:
    expected = [tensor.name for tensor in inputs]
    listed = ", ".join(f"'{name}'" for name in expected) or "none"
    unknown = [
        f"'{name}' is not an input of the model (its inputs: {listed})"
        for name in arrays
        if name not in expected
    ]
    missing = [f"input '{name}' is missing" for name in expected if name not in arrays]
    return unknown + missing


def _sample_shape_problem(array: np.ndarray, tensor: Tensor) -> str:
    expected = (
        f"[samples, {', '.join(str(extent) for extent in tensor.shape)}]" if tensor.shape else "[samples]"
    )
    if array.shape[1:] == tuple(tensor.shape) and array.ndim > 0:
        return "" if len(array) else f"input '{tensor.name}' holds no samples"
    problem = f"input '{tensor.name}' has shape {_text(array.shape)}, expected {expected}"
    if array.shape == tuple(tensor.shape):
        problem += " (add the leading sample axis)"
    return problem


def _value_problem(array: np.ndarray, tensor: Tensor, finite: bool = True) -> str:
    target = np.dtype(tensor.dtype)
    if not _convertible(array.dtype, target):
        return f"input '{tensor.name}' holds {array.dtype}, expected {tensor.dtype}"
    if finite and array.dtype.kind == "f":
        with np.errstate(over="ignore"):
            converted = array.astype(target)
        wrong = np.flatnonzero(~(np.isfinite(converted) | (tensor.is_mask & np.isneginf(converted))))
        if wrong.size:
            position = np.unravel_index(int(wrong[0]), array.shape)
            return (
                f"input '{tensor.name}' holds {array[position]} at {_text(int(index) for index in position)}"
                f" ({wrong.size} of {array.size} values are not finite in {tensor.dtype})"
            )
    if target.kind in "iu" and array.size:
        limits = np.iinfo(target)
        if int(array.min()) < limits.min or int(array.max()) > limits.max:
            return f"input '{tensor.name}' holds values outside the range of {tensor.dtype}"
    return _index_problem(array, tensor.name, tensor.index_limit)


def _index_problem(array: np.ndarray, name: str, rows: int | None) -> str:
    if rows is None:
        return ""
    wrong = np.flatnonzero((array < -rows) | (array >= rows))
    if not wrong.size:
        return ""
    position = np.unravel_index(int(wrong[0]), array.shape)
    return (
        f"input '{name}' holds {array[position]} at {_text(int(index) for index in position)}, but is an index into {rows} "
        f"rows: expected {-rows} to {rows - 1}"
    )


def _convertible(given: np.dtype, expected: np.dtype) -> bool:
    if expected.kind == "f":
        return given.kind in "fiub"
    if expected.kind in "iu":
        return given.kind in "iub"
    return given == expected


def _converted(array: np.ndarray, tensor: Tensor) -> np.ndarray:
    converted = np.ascontiguousarray(array.astype(tensor.dtype)).reshape(array.shape)
    return np.where(np.isneginf(converted), np.float32(MASKED), converted) if tensor.is_mask else converted


def _text(extents: Iterable[object]) -> str:
    return f"[{', '.join(str(extent) for extent in extents)}]"


def _raise_if(problems: Sequence[str], source: str) -> None:
    if problems:
        raise CalibrationError(f"{source}: {'; '.join(problems)}")
