"""The package format `.nmc`: a zip of stored members that opens only whole, unchanged and of a known version.

    manifest.json   what the package is (nmc/manifest.py), with size and SHA-256 of every other member
    program.bin     the command streams of all regions, one after another
    constants.bin   their constant regions, likewise
    host.so         only when some operator runs on the CPU
    comment         the SHA-256 of every byte before it

Nothing in it is executed or unpickled to read it; equal contents give equal bytes.
"""

import hashlib
import io
import re
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

from nmc.errors import PackageError
from nmc.files import read_bytes, write_atomically
from nmc.manifest import (
    FORMAT_VERSION,
    Manifest,
    ManifestError,
    Member,
    format_version_of,
    from_json,
    to_json,
)

MANIFEST, PROGRAM, CONSTANTS, HOST = "manifest.json", "program.bin", "constants.bin", "host.so"

_COMMENT_PREFIX = b"nmc-package sha256="
_COMMENT = re.compile(rb"nmc-package sha256=([0-9a-f]{64})\Z")
_COMMENT_BYTES = len(_COMMENT_PREFIX) + 64
_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNIX = 3


@dataclass(frozen=True)
class Package:
    """An opened package: the manifest and the members it describes."""

    manifest: Manifest
    program: bytes
    constants: bytes
    host: bytes | None = None

    def region_program(self, index: int) -> bytes:
        """The encoded command stream of one region."""
        region = self.manifest.regions[index]
        return self.program[region.program_offset : region.program_offset + region.program_bytes]

    def region_constants(self, index: int) -> bytes:
        """The constant region that a region's commands read."""
        region = self.manifest.regions[index]
        return self.constants[region.constants_offset : region.constants_offset + region.constants_bytes]


def sealed(package: Package) -> Package:
    """The package with the sizes and checksums of its members entered in the manifest."""
    members = {
        name: Member(len(content), hashlib.sha256(content).hexdigest())
        for name, content in _members(package).items()
    }
    return replace(package, manifest=replace(package.manifest, members=members))


def to_bytes(package: Package) -> bytes:
    """The package as the content of a file."""
    buffer = io.BytesIO()
    package = sealed(package)
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in ({MANIFEST: to_json(package.manifest)} | _members(package)).items():
            entry = zipfile.ZipInfo(name, date_time=_EPOCH)
            entry.create_system = _UNIX
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
        archive.comment = _COMMENT_PREFIX + b"0" * 64
    with buffer.getbuffer() as whole, whole[:-_COMMENT_BYTES] as body:
        # in place: a package can be as large as its model
        whole[-64:] = hashlib.sha256(body).hexdigest().encode()
    return buffer.getvalue()


def write_package(package: Package, path: Path) -> None:
    """Writes the package atomically; raises NmcError where the file cannot be written."""
    write_atomically(path, to_bytes(package))


def read_package(path: Path) -> Package:
    """Opens a package file; raises PackageError when it is anything but one whole, unchanged package."""
    return from_bytes(read_bytes(path, "package"), str(path))


def from_bytes(content: bytes, source: str = "package") -> Package:
    """Opens the content of a package file; a PackageError names it as `source`."""
    _check_seal(content, source)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    except Exception as error:  # zipfile raises a different class for every kind of damage
        raise PackageError(f"'{source}' is corrupt: {error}; compile the model again") from error
    manifest = _read_manifest(members.pop(MANIFEST, b""), source)
    _check_members(manifest, members, source)
    _check_regions(manifest, members, source)
    return Package(manifest, members[PROGRAM], members[CONSTANTS], members.get(HOST))


def _members(package: Package) -> dict[str, bytes]:
    host = {} if package.host is None else {HOST: package.host}
    return {PROGRAM: package.program, CONSTANTS: package.constants} | host


def _check_seal(content: bytes, source: str) -> None:
    if not content.startswith(b"PK\x03\x04"):
        raise PackageError(f"'{source}' is not an nmc package; nmc compile writes one")
    seal = _COMMENT.search(content[-_COMMENT_BYTES:])
    if seal is None:
        raise PackageError(f"'{source}' is truncated or was not written by nmc; compile the model again")
    if hashlib.sha256(content[:-_COMMENT_BYTES]).hexdigest().encode() != seal.group(1):
        raise PackageError(f"'{source}' is corrupt: its checksum does not match; compile the model again")


def _read_manifest(content: bytes, source: str) -> Manifest:
    version = format_version_of(content)
    if version is not None and version > FORMAT_VERSION:
        raise PackageError(
            f"'{source}' has package format {version}, this nmc reads up to {FORMAT_VERSION}: "
            "install a newer nmc"
        )
    if version is not None and version < FORMAT_VERSION:
        raise PackageError(
            f"'{source}' has package format {version}, too old for this nmc: compile the model again"
        )
    try:
        return from_json(content)
    except ManifestError as error:
        raise PackageError(f"'{source}' is corrupt: {error}; compile the model again") from error


def _check_members(manifest: Manifest, members: dict[str, bytes], source: str) -> None:
    if set(members) != set(manifest.members) or not {PROGRAM, CONSTANTS} <= set(members):
        raise PackageError(
            f"'{source}' is corrupt: its members are not those of its manifest; compile the model again"
        )
    for name, content in members.items():
        described = manifest.members[name]
        if len(content) != described.size or hashlib.sha256(content).hexdigest() != described.sha256:
            raise PackageError(
                f"'{source}' is corrupt: {name} does not match its checksum; compile the model again"
            )


def _check_regions(manifest: Manifest, members: dict[str, bytes], source: str) -> None:
    for region in manifest.regions:
        spans = (
            (region.program_offset, region.program_bytes, len(members[PROGRAM])),
            (region.constants_offset, region.constants_bytes, len(members[CONSTANTS])),
        )
        if any(start < 0 or size < 0 or start + size > limit for start, size, limit in spans):
            raise PackageError(f"'{source}' is corrupt: region '{region.symbol}' lies outside its members")
