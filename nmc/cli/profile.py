"""`nmc profile`: where the cycles of a package go."""

from pathlib import Path
from typing import Annotated

import typer

from nmc.cli import arguments
from nmc.cli.console import print_json, working
from nmc.files import make_directory, require_directory_of

Trace = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.json", help="Write a timeline for chrome://tracing or Perfetto.", show_default=False
    ),
]
Html = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.html",
        help="Write a page with pictures: roofline, occupancy, memory maps.",
        show_default=False,
    ),
]
ScaleSim = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Write the GEMMs as SCALE-Sim's M,N,K table.", show_default=False),
]


def profile(
    package: arguments.PackageFile,
    json: arguments.Json = False,
    html: Html = None,
    trace: Trace = None,
    scalesim: ScaleSim = None,
) -> None:
    """Print the simulated cycles of each layer, its utilisation, and what bounds it."""
    if html is not None:
        from nmc.report.libraries import require_libraries

        require_libraries()
    for path in filter(None, (html, trace)):
        require_directory_of(path)
    if scalesim is not None:
        make_directory(scalesim)
    with working() as progress:
        from nmc.package import read_package
        from nmc.profile import profile_package
        from nmc.programs import programs_of
        from nmc.timing import times_of

        progress("simulating")
        opened = read_package(package)
        programs = programs_of(opened)
        times = times_of(opened, programs)
        report = profile_package(opened, times)
        progress("writing")
        if html is not None:
            from nmc.report.profile import write_profile_page

            write_profile_page(html, opened, report, programs, times)
        if trace is not None:
            from nmc.trace import write_trace

            write_trace(trace, opened, times)
        if scalesim is not None:
            from nmc.scalesim import write_scalesim

            write_scalesim(scalesim, opened)
    if json:
        print_json(report.to_json())
    else:
        from nmc.profile import print_profile

        print_profile(report)
