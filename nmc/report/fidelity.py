"""The page of `nmc check --html`: what each step costs, and which layers lose it why."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nmc.check import ACCELERATOR, CheckReport, error_cells, own_text, snr_text
from nmc.layers import OPERANDS, RANGE, SATURATION, STEP_SIZE, TABLE, LayerError
from nmc.report.libraries import require_libraries
from nmc.report.page import Grid, Section, render, write_page
from nmc.report.style import GRID, INK, legend_above, new_figure, svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CAUSE_COLOURS = {
    TABLE: "#e08a1e",
    SATURATION: "#c2374e",
    STEP_SIZE: "#2f6db3",
    RANGE: "#7b56b3",
    OPERANDS: "#9aa5b1",
}
MOST_LAYERS = 30
MOST_NAMES = 60
"""A longer model has numbers along the axis instead of its layers' names."""
LEVELS = {
    "relax": "level 1, canonical floats",
    "matrix_form": "level 2, tables",
    "quantized": "level 3, integers",
    ACCELERATOR: "level 4, command stream",
}


def write_fidelity_page(path: Path, report: CheckReport) -> None:
    """Writes the page of a report that has its layers. Raises NmcError without matplotlib and jinja2."""
    require_libraries()
    write_page(path, fidelity_page(report))


def fidelity_page(report: CheckReport) -> str:
    """The page as text."""
    layers = report.layers or ()
    errors = report.levels[ACCELERATOR].values()
    figures = [
        (f"{min((error.cosine for error in errors), default=1.0):.6f}", "cosine with onnxruntime"),
        ("yes" if report.bit_exact else "NO", "equal to the CPU reference to the bit"),
        (f"{_worst_ratio(report)} dB", "signal to noise"),
        (f"{report.samples}", "samples"),
        (f"{len(report.fallback)}", "operators on the CPU"),
    ]
    sections = [
        Section(
            "By level",
            "The error of each output against onnxruntime: what a level adds to the one above is what its step costs.",
            table=_levels(report),
        )
    ]
    if layers:
        sections += [
            Section(
                "Along the model",
                "The signal-to-noise ratio of each layer's result, after tables replaced functions (against exact ones) and "
                "after integers replaced floats (against tables). It falls where a layer adds noise.",
                svg(_along(layers)),
            ),
            Section(
                "The worst layers",
                "By the smaller of the two ratios, and why: a table that is too coarse, values that saturate, a step that "
                "is too large for the values, a step made large by a few values far beyond the others (range), or operands "
                "that differ already. A mark shows the ratio of the layer's own rounding: the nearer, the more it adds.",
                svg(_worst(layers)),
            ),
            Section(
                "All layers",
                "Worst first. Own dB: if all that the layer reads were exact.",
                table=_layers(layers),
            ),
        ]
    return render(f"Fidelity of {report.model}", "Every level on the same inputs.", figures, sections)


def _worst_ratio(report: CheckReport) -> str:
    """Of the outputs that have a ratio, the smallest."""
    errors = report.levels[ACCELERATOR].values()
    return min((snr_text(e) for e in errors if e.snr_db is not None), key=float, default="∞")


def _levels(report: CheckReport) -> Grid:
    rows = [
        [output, LEVELS.get(level, level), *error_cells(errors[output])]
        for output in report.levels[ACCELERATOR]
        for level, errors in report.levels.items()
    ]
    return Grid(("output", "level", "max abs", "rmse", "cosine", "SNR dB", "top-1"), rows, texts=2)


def _layers(layers: Sequence[LayerError]) -> Grid:
    rows = [
        [
            layer.layer,
            layer.step,
            layer.cause,
            snr_text(layer.linearised),
            snr_text(layer.quantised),
            own_text(layer),
            f"{max(layer.linearised.max_abs, layer.quantised.max_abs):.3g}",
        ]
        for layer in layers
    ]
    return Grid(
        ("layer", "lost by", "because of", "linearised dB", "quantised dB", "own dB", "max abs"),
        rows,
        texts=3,
    )


def _along(layers: Sequence[LayerError]) -> "Figure":
    ordered = sorted(layers, key=lambda layer: layer.place)
    named = len(ordered) <= MOST_NAMES
    figure, (axes,) = new_figure(4.6 if named else 3.4)
    places = np.array([layer.place for layer in ordered])
    for name, label, colour in (
        ("linearised", "of tables", CAUSE_COLOURS[TABLE]),
        ("quantised", "of integers", CAUSE_COLOURS[STEP_SIZE]),
    ):
        ratios = [getattr(layer, name).snr_db for layer in ordered]
        known = np.array([ratio is not None for ratio in ratios])
        values = np.array([ratio for ratio in ratios if ratio is not None])
        axes.plot(places[known], values, ".-", color=colour, linewidth=1.1, markersize=4, label=label)
    axes.set_ylabel("signal to noise, dB", color=INK)
    if named:
        axes.set_xticks(places, [layer.layer for layer in ordered], rotation=90, fontsize=8)
    else:
        axes.set_xlabel("layer, in the order of the model", color=INK)
    axes.grid(axis="y", color=GRID, linewidth=0.7)
    legend_above(axes, 2)
    return figure


def _worst(layers: Sequence[LayerError]) -> "Figure":
    shown = [layer for layer in layers if np.isfinite(layer.snr_db)][:MOST_LAYERS][::-1]
    figure, (axes,) = new_figure(0.9 + 0.21 * max(len(shown), 1))
    axes.barh(
        range(len(shown)),
        [layer.snr_db for layer in shown],
        0.72,
        color=[CAUSE_COLOURS[layer.cause] for layer in shown],
    )
    reach = 1.3 * max((layer.snr_db for layer in shown), default=1.0)
    own = [
        (layer.own_db, place) for place, layer in enumerate(shown) if layer.own_db and layer.own_db <= reach
    ]
    axes.plot(
        *zip(*own, strict=True) if own else ([], []),
        "|",
        color=INK,
        markersize=9,
        markeredgewidth=1.8,
        label="own",
    )
    axes.set_xlim(0, reach)
    axes.set_yticks(range(len(shown)), [layer.layer for layer in shown], fontsize=8)
    axes.set_ylim(-0.7, max(len(shown), 1) - 0.3)
    axes.set_xlabel("signal to noise, dB", color=INK)
    axes.grid(axis="x", color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    for cause in dict.fromkeys(layer.cause for layer in reversed(shown)):
        axes.barh(0, 0, color=CAUSE_COLOURS[cause], label=cause)
    legend_above(axes, len(CAUSE_COLOURS) + 1)
    return figure
