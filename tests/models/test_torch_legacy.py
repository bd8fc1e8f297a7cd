"""A legacy checkpoint, written here byte by byte, is read without torch and cannot run code."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from models.torch_legacy import read_state_dict
from nmc.errors import ModelError

_HEADER = b"".join(
    pickle.dumps(part, 2)
    for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True, "type_sizes": {}})
)
_STORAGE = np.array([1, 2, 3, 4, 5, 6], "<f4")


def _tensor(offset: int = 0, shape: tuple[int, int] = (2, 3), strides: tuple[int, int] = (3, 1)) -> bytes:
    """Return the pickle, in the text opcodes of protocol 0, of {"weight": a view of storage "0"}."""
    view = "".join(f"(I{first}\nI{second}\nt" for first, second in (shape, strides))
    storage = f"(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI{_STORAGE.size}\nNtQ"
    return f"(dS'weight'\nctorch._utils\n_rebuild_tensor_v2\n({storage}I{offset}\n{view}I00\nNtRs.".encode()


def _checkpoint(state_dict: bytes) -> bytes:
    count = _STORAGE.size.to_bytes(8, "little")
    return _HEADER + state_dict + pickle.dumps(["0"], 2) + count + _STORAGE.tobytes()


def _read(content: bytes, directory: Path) -> dict[str, np.ndarray]:
    path = directory / "model.pth"
    path.write_bytes(content)
    return read_state_dict(path)


def test_a_tensor_is_read_with_its_shape_and_values(tmp_path: Path) -> None:
    weight = _read(_checkpoint(_tensor()), tmp_path)["weight"]
    assert weight.dtype == np.float32
    assert weight.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_a_transposed_view_with_an_offset_is_read_by_its_strides(tmp_path: Path) -> None:
    weight = _read(_checkpoint(_tensor(offset=1, shape=(2, 2), strides=(1, 3))), tmp_path)["weight"]
    assert weight.tolist() == [[2, 5], [3, 6]]


def test_a_checkpoint_that_names_a_foreign_function_is_refused_before_it_runs(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    attack = f"cos\nsystem\n(S'touch {trace}'\ntR.".encode()
    with pytest.raises(ModelError, match=r"asks for os\.system"):
        _read(_checkpoint(attack), tmp_path)
    assert not trace.exists()


@pytest.mark.parametrize("name", ["builtins\neval", "torch._utils\n_rebuild_tensor", "collections\ndeque"])
def test_only_the_listed_names_are_known(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="refused"):
        _read(_checkpoint(f"c{name}\n.".encode()), tmp_path)


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (1, (2, 3), (3, 1)),
        (-1, (2, 3), (3, 1)),
        (0, (2, 3), (4, 1)),
        (5, (2, 1), (-1, 1)),
        (0, (0, 3), (3, 1)),
    ],
)
def test_a_tensor_outside_its_storage_is_refused(
    offset: int, shape: tuple[int, int], strides: tuple[int, int], tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="tensor weight is empty or reaches outside"):
        _read(_checkpoint(_tensor(offset, shape, strides)), tmp_path)


def test_a_checkpoint_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    whole = _checkpoint(_tensor())
    for length in range(len(whole)):
        with pytest.raises(ModelError, match=r"model\.pth"):
            _read(whole[:length], tmp_path)


def test_a_plain_pickle_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.pth"):
        _read(pickle.dumps({"weight": [1.0]}), tmp_path)
