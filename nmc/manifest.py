"""What a package says about itself: plain data, written as JSON and read back with every field checked."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

FORMAT = "nmc-package"
FORMAT_VERSION = 6
"""Raised by one whenever an older nmc could misread what a newer one writes."""


@dataclass(frozen=True)
class PackageTensor:
    """An input or output as the user sees it."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    index_limit: int | None = None
    """Of an input whose values are indices: the rows of the smallest table, -rows to rows - 1 being valid."""
    is_mask: bool = False
    """Whether an input's values may be minus infinity, which integers stand for."""


@dataclass(frozen=True)
class BorderTensor:
    """An input or output as the accelerator holds it."""

    name: str
    dtype: str
    scale: float | None
    """Real value of one step; None for integers, which cross the border unchanged."""


@dataclass(frozen=True)
class Border:
    """A model of one region: what the region takes and returns, in order, by the user's names."""

    symbol: str
    inputs: tuple[BorderTensor, ...]
    outputs: tuple[BorderTensor, ...]


@dataclass(frozen=True)
class Region:
    """One command stream: where it lies in program.bin and constants.bin, and the DRAM it needs."""

    symbol: str
    program_offset: int
    program_bytes: int
    constants_offset: int
    constants_bytes: int
    arena_bytes: int
    arena_lower_bound: int
    """The largest set of tensors alive at once: no plan can need less."""


@dataclass(frozen=True)
class Layer:
    """A layer of the model and its ONNX operator."""

    name: str
    operator: str


@dataclass(frozen=True)
class Product:
    """One matrix product of the model, [groups, rows, depth] times [groups, depth, columns]."""

    layer: str
    groups: int
    rows: int
    depth: int
    columns: int


@dataclass(frozen=True)
class Table:
    """One piecewise-linear table and how well it fits."""

    layer: str
    function: str
    addressing: str
    segments: int
    fitted_range: tuple[float, float]
    seen_range: tuple[float, float]
    outside_share: float
    """Of the values that calibration saw: how many lie outside the fitted range."""
    max_error: float
    mean_error: float
    seen_error: float
    """The largest error where calibration saw values; beside that a table may be eight times as far off."""
    error_steps: float
    """The same in steps of a 16-bit result; rounding the result adds half a step."""


@dataclass(frozen=True)
class Fallback:
    """One operator that runs on the CPU, and why."""

    layer: str
    """Of the source model."""
    operator: str
    """Its name in Relax."""
    reason: str
    touches_floats: bool
    """False for bookkeeping on indices and masks."""
    heavy: bool
    """Whether it holds products, which the CPU takes long for."""

    def __str__(self) -> str:
        return f"{self.operator} of layer '{self.layer}' runs on the CPU: {self.reason}"


@dataclass(frozen=True)
class Offload:
    """How much of the model runs on the accelerator."""

    operators_accelerated: int
    operators_total: int
    macs_accelerated: int
    macs_total: int


@dataclass(frozen=True)
class Accelerator:
    """The array that the command stream is for."""

    isa_version: int
    config_hash: str
    config: Mapping[str, Any]


@dataclass(frozen=True)
class Member:
    """Size and checksum of one file of the package."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Everything a package holds besides code and constants."""

    nmc_version: str
    model: str
    model_sha256: str
    target: str
    options: Mapping[str, Any]
    inputs: tuple[PackageTensor, ...]
    outputs: tuple[PackageTensor, ...]
    accelerator: Accelerator | None
    border: Border | None
    """Given when the host only converts inputs and outputs; then there is no host.so."""
    host_features: tuple[str, ...]
    """What host.so needs of a processor beyond the base of its family."""
    regions: tuple[Region, ...]
    layers: tuple[Layer, ...]
    """The model's layers that anything is left of, in the order in which they run."""
    products: tuple[Product, ...]
    """The products that run on the accelerator, in order."""
    tables: tuple[Table, ...]
    fallback: tuple[Fallback, ...]
    offload: Offload
    members: Mapping[str, Member]
    format: str = FORMAT
    format_version: int = FORMAT_VERSION

    @property
    def runs_floats(self) -> bool:
        """Whether the package runs a float level on the CPU, rather than integers."""
        return self.target == "cpu" and self.options.get("level") in (1, 2)


class ManifestError(Exception):
    """A manifest that does not have the form above."""


def to_json(manifest: Manifest) -> bytes:
    """The manifest as UTF-8 JSON: sorted keys and fixed spacing, so that equal manifests are equal bytes."""
    return json.dumps(asdict(manifest), indent=1, sort_keys=True, allow_nan=False).encode()


def from_json(content: bytes) -> Manifest:
    """Raises ManifestError for anything but what `to_json` writes; the version is not judged here."""
    try:
        value = json.loads(content)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ManifestError(f"not JSON: {error}") from error
    manifest = _decode(Manifest, value, "manifest")
    assert isinstance(manifest, Manifest)
    return manifest


def format_version_of(content: bytes) -> int | None:
    """The format version that a manifest claims, whatever else has changed; None where it claims none."""
    try:
        value = json.loads(content)
    except (UnicodeDecodeError, ValueError, RecursionError):
        return None
    version = (
        value.get("format_version") if isinstance(value, dict) and value.get("format") == FORMAT else None
    )
    return version if isinstance(version, int) else None


def _decode(expected: Any, value: Any, where: str) -> Any:
    """The value as an instance of a type hint: dataclasses, tuples, mappings, optionals and plain values."""
    origin, arguments = get_origin(expected), get_args(expected)
    if expected is Any:
        return value
    if is_dataclass(expected):
        return _decode_dataclass(expected, value, where)
    if origin in (UnionType, Union):
        if value is None and NoneType in arguments:
            return None
        return _decode(next(choice for choice in arguments if choice is not NoneType), value, where)
    if origin is tuple:
        if not isinstance(value, list) or (arguments[-1] is not Ellipsis and len(value) != len(arguments)):
            raise ManifestError(f"{where} is not the expected list")
        return tuple(_decode(arguments[0], item, f"{where}[{index}]") for index, item in enumerate(value))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, dict):
            raise ManifestError(f"{where} is not an object")
        return {key: _decode(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if expected is float and type(value) is int:
        return float(value)
    if type(value) is not expected:
        raise ManifestError(f"{where} is not of type {expected.__name__}")
    return value


def _decode_dataclass(expected: Any, value: Any, where: str) -> Any:
    names = [field.name for field in fields(expected)]
    if not isinstance(value, dict) or set(value) != set(names):
        raise ManifestError(f"{where} does not have exactly the fields {', '.join(names)}")
    hints = get_type_hints(expected)
    return expected(**{name: _decode(hints[name], value[name], f"{where}.{name}") for name in names})
