"""Reads the tensors of a legacy PyTorch checkpoint (torch.save before 1.6) without torch and without running its code.

Such a file is five pickles - a magic number, a protocol version, facts about the machine that wrote it, the object,
the keys of its storages - and then the storages themselves, each as a little-endian int64 element count and raw
little-endian data (torch/serialization.py, `_legacy_save`). A pickle can call any function it names, so names outside
the short list below are refused.
"""

import pickle
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmc.errors import ModelError

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_PROTOCOL_VERSION = 1001


@dataclass(frozen=True)
class _Storage:
    """A flat buffer whose data follow later in the file."""

    key: str
    dtype: str
    elements: int


@dataclass(frozen=True)
class _Tensor:
    """A view of a storage, kept until the storage's data have been read."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_state_dict(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the tensors of a legacy checkpoint by name.

    Raises ModelError for another format, a truncated file, a pickle that names anything but tensors, or a tensor
    that reaches outside its data.
    """
    stream = BytesIO(path.read_bytes())
    try:
        if _load(stream) != _MAGIC_NUMBER or _load(stream) != _PROTOCOL_VERSION:
            raise ModelError(f"{path.name} is not a legacy PyTorch checkpoint; save it with "
                             "torch.save(..., _use_new_zipfile_serialization=False)")
        if not _load(stream)["little_endian"]:
            raise ModelError(f"{path.name} was written on a big-endian machine, which is not supported")
        tensors, keys = _load(stream), _load(stream)
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path.name} is not a legacy PyTorch checkpoint or is damaged: {error}") from error
    if not isinstance(tensors, dict) or not all(isinstance(tensor, _Tensor) for tensor in tensors.values()):
        raise ModelError(f"{path.name} holds something else than named tensors; save the model's state_dict()")
    return _with_data(tensors, _read_storages(stream, path, keys, tensors), path)


def _read_storages(
    stream: BytesIO, path: Path, keys: list[str], tensors: dict[str, _Tensor]
) -> dict[str, npt.NDArray[Any]]:
    known = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    storages = {}
    for key in keys:
        if key not in known:
            raise ModelError(f"{path.name} has a storage {key} that no tensor uses; the file is damaged")
        storage = known[key]
        elements = int.from_bytes(stream.read(8), "little")
        data = stream.read(storage.elements * np.dtype(storage.dtype).itemsize)
        if elements != storage.elements or len(data) != elements * np.dtype(storage.dtype).itemsize:
            raise ModelError(f"{path.name} is truncated or damaged at storage {key}; install its package again")
        storages[key] = np.frombuffer(data, storage.dtype)
    return storages


def _with_data(
    tensors: dict[str, _Tensor], storages: dict[str, npt.NDArray[Any]], path: Path
) -> dict[str, npt.NDArray[Any]]:
    result = {}
    for name, tensor in tensors.items():
        if tensor.storage.key not in storages:
            raise ModelError(f"{path.name}: the data of tensor {name} are missing; the file is damaged")
        data = storages[tensor.storage.key]
        # Weights converted from other frameworks are often transposed views, so strides (in elements) count.
        steps = [(length - 1) * stride for length, stride in zip(tensor.shape, tensor.strides, strict=True)]
        if min((tensor.offset, *tensor.shape, *tensor.strides)) < 0 or tensor.offset + sum(steps) >= data.size:
            raise ModelError(f"{path.name}: tensor {name} reaches outside its storage; the file is damaged")
        byte_strides = tuple(stride * data.itemsize for stride in tensor.strides)
        view = np.lib.stride_tricks.as_strided(data[tensor.offset :], tensor.shape, byte_strides, writeable=False)
        result[name] = np.ascontiguousarray(view).reshape(tensor.shape)
    return result


def _rebuild_tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_training_state: object
) -> _Tensor:
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _load(stream: BytesIO) -> Any:
    return _TensorUnpickler(stream).load()


_ALLOWED: dict[tuple[str, str], Callable[..., object] | str] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch", "FloatStorage"): "<f4",
    ("torch", "LongStorage"): "<i8",
}


class _TensorUnpickler(pickle.Unpickler):
    """Unpickles numbers, strings, containers and tensors, and nothing that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a global of the checkpoint, or refuse it."""
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise ModelError(
                f"the checkpoint asks for {module}.{name}, which is no tensor and could run code; refused"
            ) from None

    def persistent_load(self, pid: Any) -> _Storage:
        """Return the storage that a tensor refers to: pid is ("storage", type, key, device, elements, view)."""
        kind, dtype, key, _device, elements, view = pid
        if kind != "storage" or view is not None or not isinstance(dtype, str):
            raise ModelError("the checkpoint refers to its data in a way that is not supported; save a state_dict()")
        return _Storage(str(key), dtype, int(elements))
