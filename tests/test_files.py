"""Files appear whole or not at all, and a path that cannot be written is named in one line."""

import os
import re
from pathlib import Path

import pytest

from nmc.errors import NmcError
from nmc.files import make_directory, read_bytes, require_directory_of, write_atomically


def test_a_written_file_replaces_the_old_one_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "out.bin"
    path.write_bytes(b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.bin"]


def test_a_failed_write_keeps_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.bin"
    path.write_bytes(b"old")

    def refuse(source: str, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", refuse)
    with pytest.raises(NmcError, match="No space left on device"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.bin"]


def test_a_missing_output_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(NmcError, match=re.escape(f"the directory '{tmp_path / 'absent'}' does not exist")):
        require_directory_of(tmp_path / "absent" / "out.nmc")


def test_a_directory_is_not_overwritten_by_a_file(tmp_path: Path) -> None:
    with pytest.raises(NmcError, match="it is a directory"):
        write_atomically(tmp_path, b"new")


def test_a_missing_input_file_is_named_by_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(NmcError, match=r"data file '.*absent\.npz' does not exist"):
        read_bytes(tmp_path / "absent.npz", "data file")


def test_a_directory_in_place_of_an_input_file_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(NmcError, match="Is a directory"):
        read_bytes(tmp_path, "data file")


def test_an_interrupt_from_the_keyboard_leaves_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(source: str, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "out.bin", b"new")
    assert not list(tmp_path.iterdir())


def test_a_directory_is_made_with_those_above_it_unless_a_file_is_in_the_way(tmp_path: Path) -> None:
    make_directory(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NmcError, match=re.escape(f"cannot write to the directory '{tmp_path / 'file'}'")):
        make_directory(tmp_path / "file")


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    write_atomically(path, b"new")
    assert os.read(reader, 10) == b"new"
    os.close(reader)
    assert path.is_fifo()
    assert [entry.name for entry in tmp_path.iterdir()] == ["pipe"]


def test_a_link_stays_and_what_it_points_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real" / "out.bin")
    write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "out.bin").read_bytes() == b"new"
