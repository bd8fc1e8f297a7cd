"""`nmc check`: a model runs at every level on the same inputs."""

from pathlib import Path
from typing import Annotated

import typer

from nmc.cli import arguments
from nmc.cli.console import print_json, warn, working
from nmc.defaults import DEFAULT_MAX_LOSS
from nmc.errors import CheckFailedError
from nmc.files import require_directory_of

Data = Annotated[
    Path | None,
    typer.Option(
        metavar="DATA.npz",
        help="Inputs to compare on, and to calibrate on without --calibrate. Default: synthetic ones.",
        show_default=False,
    ),
]

PerLayer = Annotated[
    bool, typer.Option("--per-layer", help="Also show what each layer loses, and to which step, worst first.")
]
Html = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.html",
        help="Write a page that shows what each layer loses, and why.",
        show_default=False,
    ),
]


def check(
    model: arguments.Model,
    data: Data = None,
    shape: arguments.Shapes = None,
    bind: arguments.Binds = None,
    calibrate: arguments.Calibrate = None,
    bits: arguments.Bits = "16",
    max_loss: arguments.MaxLoss = DEFAULT_MAX_LOSS,
    calibration_method: arguments.CalibrationMethod = "min-max",
    pwl_segments: arguments.Segments = None,
    pwl_granularity: arguments.Granularity = None,
    pwl_max_error: arguments.MaxError = None,
    pwl_weighted: arguments.Weighted = False,
    config: arguments.Config = "default",
    require_full_offload: arguments.FullOffload = False,
    per_layer: PerLayer = False,
    html: Html = None,
    json: arguments.Json = False,
) -> None:
    """Compare every level with onnxruntime; the accelerator must equal the CPU reference to the bit."""
    if data is not None and calibrate is None:
        warn(
            f"'{data}' is used for calibration too; give --calibrate other samples to measure on unseen data"
        )
    if html is not None:
        from nmc.report.libraries import require_libraries

        require_libraries()
        require_directory_of(html)
    with working() as progress:
        from nmc.check import check_model

        samples = arguments.read_samples(data)
        options = arguments.compile_options(
            target="gemm-accel",
            shapes=shape,
            binds=bind,
            calibration=samples if calibrate is None else arguments.read_samples(calibrate),
            bits=bits,
            max_loss=max_loss,
            calibration_method=calibration_method,
            pwl_segments=pwl_segments,
            pwl_granularity=pwl_granularity,
            pwl_max_error=pwl_max_error,
            pwl_weighted=pwl_weighted,
            config=config,
            require_full_offload=require_full_offload,
        )
        report = check_model(model, options, samples, progress, per_layer or html is not None)
        if html is not None:
            from nmc.report.fidelity import write_fidelity_page

            write_fidelity_page(html, report)
    if json:
        print_json(report.to_json())
    else:
        from nmc.check import print_check

        print_check(report)
    if not report.bit_exact:
        raise CheckFailedError(
            f"the accelerator differs from the CPU reference in {', '.join(report.different)}: "
            "a bug of nmc, please report it"
        )
