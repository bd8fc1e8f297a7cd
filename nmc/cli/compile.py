"""`nmc compile`: an ONNX model becomes a package."""

from pathlib import Path
from typing import Annotated

import typer

from nmc.cli import arguments
from nmc.cli.console import print_json, working
from nmc.defaults import DEFAULT_MAX_LOSS

Output = Annotated[
    Path | None,
    typer.Option(
        "-o", "--output", metavar="OUT.nmc", help="Default: the model's name, here.", show_default=False
    ),
]
Dump = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Write the module after each pass, and the instruction dump.", show_default=False
    ),
]


def compile_command(
    model: arguments.Model,
    target: arguments.Target = "gemm-accel",
    output: Output = None,
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
    dump: Dump = None,
    require_full_offload: arguments.FullOffload = False,
    json: arguments.Json = False,
) -> None:
    """Compile a model and print a summary: what runs where, the memory it needs, its simulated speed."""
    from nmc.files import make_directory, require_directory_of

    path = output or Path(f"{model.stem}.nmc")
    require_directory_of(path)
    if dump is not None:
        make_directory(dump)
    with working() as progress:
        from nmc.memory import collect_rarely, release_freed_memory

        collect_rarely()  # the imports make many objects, too
        from nmc.compiler import compile_model
        from nmc.dump import write_dump
        from nmc.executable import Executable
        from nmc.packaging import package_of
        from nmc.profile import profile_package
        from nmc.summary import summary_json
        from nmc.timing import times_of

        collect_rarely()
        options = arguments.compile_options(
            target=target,
            shapes=shape,
            binds=bind,
            calibration=arguments.read_samples(calibrate),
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
        compilation = compile_model(model, options, progress)
        progress("writing the package")
        executable = Executable(package_of(compilation))
        if dump is not None:
            write_dump(dump, compilation.stages, executable.package)
        programs = [region.program for region in compilation.regions.values()]
        del compilation
        release_freed_memory()
        executable.save(path)
        progress("timing the command stream")
        profile = profile_package(executable.package, times_of(executable.package, programs))
    if json:
        print_json({"package": str(path)} | summary_json(executable.package, profile))
    else:
        from nmc.summary import print_summary

        print_summary(path, executable.package, profile)
