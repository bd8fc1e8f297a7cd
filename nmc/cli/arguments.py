"""The arguments that several commands share, and the compiler options that they stand for."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nmc.defaults import DEFAULT_MAX_LOSS
from nmc.errors import CalibrationError, ModelError, NmcError

if TYPE_CHECKING:
    import numpy as np

    from nmc.options import Options

Model = Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The model.", show_default=False)]
PackageFile = Annotated[
    Path, typer.Argument(metavar="PACKAGE.nmc", help="The compiled package.", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object on standard output.")]

Target = Annotated[
    str, typer.Option("--target", help="gemm-accel (the accelerator) or cpu (the bit-exact reference).")
]
Shapes = Annotated[
    list[str] | None,
    typer.Option(
        "--shape", metavar="NAME=1,64", help="Pin an input's shape. Repeatable.", show_default=False
    ),
]
Binds = Annotated[
    list[str] | None,
    typer.Option(
        "--bind", metavar="NAME=FILE.npy", help="Make an input a constant. Repeatable.", show_default=False
    ),
]
Calibrate = Annotated[
    Path | None,
    typer.Option(
        metavar="DATA.npz",
        help="Samples to measure ranges on: one array an input, with a leading sample axis. Default: synthetic ones.",
        show_default=False,
    ),
]
Bits = Annotated[
    str,
    typer.Option(metavar="8|16|auto", help="Width of what products read; auto: 8 where little is lost."),
]
MaxLoss = Annotated[
    float,
    typer.Option(metavar="X", help="With --bits auto: how far cosines of outputs may fall below 1."),
]
CalibrationMethod = Annotated[
    str,
    typer.Option(
        metavar="min-max|percentile|entropy|mse", help="How much of a range 8-bit operands stand for."
    ),
]
Segments = Annotated[
    int | None, typer.Option("--pwl-segments", metavar="N", help="Segments a table.", show_default=False)
]
Granularity = Annotated[
    float | None,
    typer.Option(
        "--pwl-granularity", metavar="G", help="Chord tables of segments this wide.", show_default=False
    ),
]
MaxError = Annotated[
    float | None,
    typer.Option("--pwl-max-error", metavar="E", help="Largest error a table may have.", show_default=False),
]
Weighted = Annotated[
    bool,
    typer.Option(
        "--pwl-weighted", help="Fit tables where calibration data lies, for the least squared error there."
    ),
]
Config = Annotated[
    str,
    typer.Option("--config", metavar="NAME|FILE.toml", help="The accelerator: a preset or a description."),
]
FullOffload = Annotated[
    bool,
    typer.Option("--require-full-offload", help="Refuse a model of which any operator would run on the CPU."),
]


def compile_options(
    *,
    target: str,
    shapes: Sequence[str] | None,
    binds: Sequence[str] | None,
    calibration: "Mapping[str, np.ndarray] | None",
    bits: str = "16",
    **plain: Any,
) -> "Options":
    """The compiler's options from the command line's text; raises NmcError for what does not parse."""
    from nmc.options import AUTO_BITS, Options

    if bits != AUTO_BITS and plain.get("max_loss", DEFAULT_MAX_LOSS) != DEFAULT_MAX_LOSS:
        raise NmcError("--max-loss says what automatic bits may lose; give --bits auto with it")
    return Options(
        target=target,
        shapes={name: _extents(name, text) for name, text in _pairs("--shape", "NAME=1,64", shapes)},
        binds={name: _array(text) for name, text in _pairs("--bind", "NAME=FILE.npy", binds)},
        calibration=calibration,
        bits=_bits(bits),
        **plain,
    )


def read_samples(path: Path | None) -> "dict[str, np.ndarray] | None":
    """The arrays of a DATA.npz; None where no file is given."""
    if path is None:
        return None
    from nmc.data import read_npz

    return read_npz(path)


def _bits(text: str) -> int | str:
    from nmc.options import AUTO_BITS

    if text == AUTO_BITS or text.isdecimal():
        return text if text == AUTO_BITS else int(text)
    raise NmcError(f"--bits '{text}' must be 8, 16 or auto")


def _pairs(option: str, form: str, given: Sequence[str] | None) -> list[tuple[str, str]]:
    pairs: dict[str, str] = {}
    for text in given or ():
        # names of ONNX tensors may hold '=' and ':', what follows the last '=' does not
        name, equals, value = text.rpartition("=")
        if not equals or not name or not value:
            raise NmcError(f"{option} '{text}' is not of the form {form}")
        if name in pairs:
            raise NmcError(f"{option} names '{name}' twice")
        pairs[name] = value
    return list(pairs.items())


def _extents(name: str, text: str) -> tuple[int, ...]:
    try:
        extents = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ModelError(f"--shape {name}={text}: write the extents as integers, as in {name}=1,64") from None
    if any(extent < 0 for extent in extents):
        raise ModelError(f"--shape {name}={text}: an extent cannot be negative")
    return extents


def _array(text: str) -> "np.ndarray":
    from nmc.data import read_npy

    path = Path(text)
    if path.suffix != ".npy":
        raise CalibrationError(f"--bind file '{text}' must be a .npy file")
    return read_npy(path)
