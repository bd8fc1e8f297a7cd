"""Reads the tensors of a legacy PyTorch checkpoint (torch.save before 1.6) and runs none of its code.

Such a file is five pickles - a magic number, a protocol version, facts about the machine that wrote it, the
object, the keys of its storages - and then the storages themselves, each as a little-endian int64 element
count and raw little-endian data (torch/serialization.py, `_legacy_save`). A pickle can call any function it
names, so names outside the short list below are refused.
"""

import pickle
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from models.model import Array
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
    """A view of a storage, kept until the storage's data have been read; strides are in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_state_dict(path: Path) -> dict[str, Array]:
    """Return the tensors of a legacy checkpoint by name.

    Raises ModelError for another format, a truncated file, a pickle that names anything but tensors, or a
    tensor that reaches outside its data.
    """
    try:
        return _read(BytesIO(path.read_bytes()))
    except ModelError as error:
        raise ModelError(f"{path.name}: {error}") from error
    except Exception as error:
        # The documentation of pickle leaves open which exceptions a damaged stream raises.
        raise ModelError(f"{path.name} is not a legacy PyTorch checkpoint, or is damaged: {error}") from error


def _read(stream: BytesIO) -> dict[str, Array]:
    magic_number, protocol_version, machine, tensors, keys = (
        _TensorUnpickler(stream).load() for _ in range(5)
    )
    if (magic_number, protocol_version) != (_MAGIC_NUMBER, _PROTOCOL_VERSION):
        raise ModelError("not the magic number and version of a legacy PyTorch checkpoint")
    if not machine["little_endian"]:
        raise ModelError("written on a big-endian machine, which is not supported")
    if not isinstance(tensors, dict) or not all(isinstance(tensor, _Tensor) for tensor in tensors.values()):
        raise ModelError("holds something else than named tensors; save the model's state_dict()")
    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    data = {key: _read_storage(stream, storages[key]) for key in keys}
    return {name: _with_data(name, tensor, data[tensor.storage.key]) for name, tensor in tensors.items()}


def _read_storage(stream: BytesIO, storage: _Storage) -> Array:
    elements = int.from_bytes(stream.read(8), "little")
    if elements != storage.elements:
        raise ModelError(
            f"storage {storage.key} has {elements} elements where {storage.elements} were announced"
        )
    length_bytes = elements * np.dtype(storage.dtype).itemsize
    content = stream.read(length_bytes)
    if len(content) != length_bytes:
        raise ModelError(f"truncated in storage {storage.key}")
    return np.frombuffer(content, storage.dtype)


def _with_data(name: str, tensor: _Tensor, data: Array) -> Array:
    """Return a copy of the tensor; weights converted from other frameworks are often transposed views."""
    last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.strides, strict=True))
    if min((tensor.offset, *tensor.strides)) < 0 or min((1, *tensor.shape)) < 1 or last >= data.size:
        raise ModelError(f"tensor {name} is empty or reaches outside its storage")
    strides = tuple(step * data.itemsize for step in tensor.strides)
    view = np.lib.stride_tricks.as_strided(data[tensor.offset :], tensor.shape, strides, writeable=False)
    return view.copy(order="C")


def _rebuild_tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_training_state: object
) -> _Tensor:
    return _Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


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
        if (module, name) not in _ALLOWED:
            raise ModelError(
                f"the checkpoint asks for {module}.{name}, which is no tensor and could run code; refused"
            )
        return _ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        """Return the storage that a tensor names: pid is ("storage", type, key, device, elements, view)."""
        kind, dtype, key, _device, elements, view = pid
        if kind != "storage" or view is not None or not isinstance(dtype, str):
            raise ModelError(
                "refers to its data in a way that is not supported; save the model's state_dict()"
            )
        return _Storage(str(key), dtype, int(elements))
