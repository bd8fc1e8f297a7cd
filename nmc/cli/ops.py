"""`nmc ops`: what runs where, and why."""

from pathlib import Path
from typing import Annotated

import typer

from nmc.cli import arguments
from nmc.cli.console import print_json, working

Model = Annotated[
    Path | None, typer.Argument(metavar="[MODEL.onnx]", help="Only this model.", show_default=False)
]


def ops(
    model: Model = None,
    shape: arguments.Shapes = None,
    bind: arguments.Binds = None,
    calibrate: arguments.Calibrate = None,
    json: arguments.Json = False,
) -> None:
    """List the operators: which run on the accelerator and as what, which on the CPU, and why."""
    with working() as progress:
        from nmc.ops import model_operators, operator_table

        if model is None:
            report = operator_table()
        else:
            options = arguments.compile_options(
                target="gemm-accel",
                shapes=shape,
                binds=bind,
                calibration=arguments.read_samples(calibrate),
            )
            report = model_operators(model, options, progress)
    if json:
        print_json(report.to_json())
    else:
        from nmc.ops import print_operators

        print_operators(report)
