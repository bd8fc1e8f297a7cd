"""A package opens only whole and unchanged, and equal contents are equal bytes."""

import io
import json
import random
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from nmc.errors import PackageError
from nmc.manifest import (
    Accelerator,
    Border,
    BorderTensor,
    Layer,
    Manifest,
    Offload,
    PackageTensor,
    Product,
    Region,
    Table,
    to_json,
)
from nmc.package import HOST, Package, from_bytes, read_package, sealed, to_bytes, write_package

TABLE = Table("act", "gelu", "uniform", 64, (-4.0, 4.0), (-3.5, 3.9), 0.0, 1e-4, 2e-5, 9e-5, 0.7)


def package(host: bytes | None = None) -> Package:
    """A package with two regions of recognisable bytes."""
    manifest = Manifest(
        nmc_version="0.1.0",
        model="tiny",
        model_sha256="0" * 64,
        target="gemm-accel",
        options={"bits": 16},
        inputs=(PackageTensor("x", (1, 4), "float32"),),
        outputs=(PackageTensor("y", (), "int64"),),
        accelerator=Accelerator(1, "abc", {"rows": 16}),
        border=Border("first", (BorderTensor("x", "int16", 0.5),), (BorderTensor("y", "int32", None),)),
        host_features=("avx2",),
        regions=(Region("first", 0, 300, 0, 70, 128, 128), Region("second", 300, 100, 70, 30, 64, 32)),
        layers=(Layer("conv", "Conv"), Layer("act", "Gelu")),
        products=(Product("conv", 1, 16, 27, 8),),
        tables=(TABLE,),
        fallback=(),
        offload=Offload(3, 3, 1000, 1000),
        members={},
    )
    return sealed(Package(manifest, bytes(range(256)) + b"p" * 144, b"c" * 100, host))


def rezipped(content: bytes, replaced: dict[str, bytes]) -> bytes:
    """The same zip with members replaced and a seal that fits: damage that only the manifest reveals."""
    import hashlib

    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            new.writestr(zipfile.ZipInfo(name), replaced.get(name, old.read(name)))
        for name in replaced.keys() - set(old.namelist()):
            new.writestr(zipfile.ZipInfo(name), replaced[name])
        new.comment = b"nmc-package sha256=" + b"0" * 64
    body = buffer.getvalue()[: -len(new.comment)]
    return body + b"nmc-package sha256=" + hashlib.sha256(body).hexdigest().encode()


@pytest.mark.parametrize("host", [None, b"\x7fELF"], ids=["no host code", "host code"])
def test_a_package_reads_back_equal(tmp_path: Path, host: bytes | None) -> None:
    original = package(host)
    write_package(original, tmp_path / "model.nmc")
    assert read_package(tmp_path / "model.nmc") == original


def test_equal_packages_are_equal_bytes() -> None:
    assert to_bytes(package()) == to_bytes(package())


def test_any_unzip_tool_reads_the_members() -> None:
    with zipfile.ZipFile(io.BytesIO(to_bytes(package(b"code")))) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["manifest.json", "program.bin", "constants.bin", "host.so"]
        assert all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
        assert json.loads(archive.read("manifest.json"))["inputs"][0]["name"] == "x"


def test_regions_are_slices_of_their_members() -> None:
    opened = from_bytes(to_bytes(package()))
    assert opened.region_program(1) == opened.program[300:400]
    assert opened.region_constants(1) == opened.constants[70:100]


def test_every_flipped_bit_is_refused() -> None:
    content = to_bytes(package(b"\x7fELF host code"))
    flips = random.Random(0)
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << flips.randrange(8)
        with pytest.raises(PackageError):
            from_bytes(bytes(damaged))


def test_every_truncation_is_refused() -> None:
    content = to_bytes(package())
    for size in range(len(content)):
        with pytest.raises(PackageError):
            from_bytes(content[:size])


def test_appended_bytes_are_refused() -> None:
    with pytest.raises(PackageError, match="truncated or was not written by nmc"):
        from_bytes(to_bytes(package()) + b"\n")


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"onnx" * 100], ids=["empty", "binary", "text"])
def test_another_kind_of_file_is_named_as_such(content: bytes) -> None:
    with pytest.raises(PackageError, match=r"'a\.nmc' is not an nmc package"):
        from_bytes(content, "a.nmc")


@pytest.mark.parametrize("name", ["program.bin", "constants.bin", HOST])
def test_a_member_is_checked_even_where_the_seal_fits(name: str) -> None:
    content = to_bytes(package(b"host code"))
    with pytest.raises(PackageError, match=f"{name} does not match its checksum"):
        from_bytes(rezipped(content, {name: b"something else"}))


def test_an_unknown_member_is_refused() -> None:
    with pytest.raises(PackageError, match="members are not those of its manifest"):
        from_bytes(rezipped(to_bytes(package()), {"extra.bin": b"x"}))


def test_a_newer_format_says_to_install_a_newer_nmc() -> None:
    content = to_bytes(package())
    manifest = json.dumps({"format": "nmc-package", "format_version": 99, "anything": []}).encode()
    with pytest.raises(PackageError, match="package format 99, this nmc reads up to 6: install a newer nmc"):
        from_bytes(rezipped(content, {"manifest.json": manifest}))


def test_an_older_format_says_to_compile_again() -> None:
    old = to_json(replace(package().manifest, format_version=0))
    with pytest.raises(PackageError, match="too old for this nmc: compile the model again"):
        from_bytes(rezipped(to_bytes(package()), {"manifest.json": old}))


@pytest.mark.parametrize(
    ("field", "value"),
    [("inputs", {}), ("regions", [1]), ("border", 3), ("offload", None), ("tables", [{"layer": "a"}])],
)
def test_a_manifest_of_another_form_is_refused_by_the_field(field: str, value: object) -> None:
    manifest = json.loads(to_json(package().manifest))
    manifest[field] = value
    with pytest.raises(PackageError, match=rf"corrupt: manifest\.{field}"):
        from_bytes(rezipped(to_bytes(package()), {"manifest.json": json.dumps(manifest).encode()}))


def test_a_region_outside_its_member_is_refused() -> None:
    wrong = replace(package().manifest, regions=(Region("first", 0, 401, 0, 0, 0, 0),))
    with pytest.raises(PackageError, match="region 'first' lies outside its members"):
        from_bytes(rezipped(to_bytes(package()), {"manifest.json": to_json(wrong)}))
