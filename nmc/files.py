"""Writes files whole or not at all, and says in one line why a file cannot be read or written."""

import os
import tempfile
from pathlib import Path

from nmc.errors import NmcError


def require_directory_of(path: Path) -> None:
    """Raises NmcError unless a file can be created at `path`: ask before the work whose result goes there."""
    if path.is_dir():
        raise NmcError(f"cannot write '{path}': it is a directory; give a file name")
    if _is_device(path):
        if not os.access(path, os.W_OK):
            raise NmcError(f"cannot write '{path}': no permission")
        return
    directory = _place(path).parent
    if not directory.is_dir():
        raise NmcError(f"cannot write '{path}': the directory '{directory}' does not exist; create it first")
    if not os.access(directory, os.W_OK):
        raise NmcError(f"cannot write '{path}': no permission to write in '{directory}'")


def make_directory(path: Path) -> None:
    """Makes a directory and those above it where they are missing; raises NmcError where files cannot be written to it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NmcError(f"cannot write to the directory '{path}': {error.strerror or error}") from error
    if not os.access(path, os.W_OK):
        raise NmcError(f"cannot write to the directory '{path}': no permission")


def write_atomically(path: Path, content: bytes) -> None:
    """Writes to a temporary name, then renames: `path` holds the old content or all of the new.

    A link stays one and its target is replaced; a device or a pipe is written to as it is. Raises NmcError when the
    directory is missing, not writable or full.
    """
    require_directory_of(path)
    temporary, place = "", _place(path)
    try:
        if _is_device(path):
            path.write_bytes(content)
            return
        descriptor, temporary = tempfile.mkstemp(prefix=f".{place.name}.", dir=place.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, place)
        temporary = ""
    except OSError as error:
        raise NmcError(f"cannot write '{path}': {error.strerror or error}") from error
    finally:
        # an interrupt from the keyboard must not leave it behind either
        if temporary:
            Path(temporary).unlink(missing_ok=True)


def read_bytes(path: Path, what: str) -> bytes:
    """The content of a file; raises NmcError naming it as `what` when it is missing or not readable."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise NmcError(f"{what} '{path}' does not exist") from None
    except OSError as error:
        raise NmcError(f"cannot read {what} '{path}': {error.strerror or error}") from error


def _is_device(path: Path) -> bool:
    """Whether something stands there that is neither a file nor a directory, and must not be replaced by one."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _place(path: Path) -> Path:
    """Where a file of this name lies, behind links."""
    return path.resolve() if path.is_symlink() else path


def _umask() -> int:
    # mkstemp makes private files; the result should have the permissions that any new file of the user has
    mask = os.umask(0)
    os.umask(mask)
    return mask
