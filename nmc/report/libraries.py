"""What pages need beyond what nmc itself does: asked for before the work whose result is to be drawn."""

from importlib.util import find_spec

from nmc.errors import NmcError

LIBRARIES = ("matplotlib", "jinja2")


def require_libraries() -> None:
    """Raises NmcError, naming those to install, unless pages can be drawn."""
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        names = " and ".join(missing)
        raise NmcError(f"a report needs {names}; install with: pip install {' '.join(missing)}")
