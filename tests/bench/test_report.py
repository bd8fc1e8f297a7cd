"""The report holds every row that was measured, with its command, and names what was not."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench import report, results
from tests.bench.granularity import Row


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (results, report):
        monkeypatch.setattr(module, "DIRECTORY", tmp_path)


def row(model: str, metric: float) -> Row:
    return Row(model, 0.5, 32.0, metric, 0.9, 0.98, 0.99)


def test_the_report_has_the_rows_and_commands_of_what_was_measured_and_names_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results.store("granularity", [row("cnn", 0.125)])
    report.main([])
    page = (tmp_path / "report.html").read_text()
    assert "<td>cnn</td><td>0.5</td><td>32</td><td>12.5%</td>" in page
    assert "<code>python -m tests.bench.granularity</code>, measured 20" in page
    assert "Not measured yet: run <code>python -m tests.bench.tables</code>" in page
    assert "run python -m tests.bench.tables" in capsys.readouterr().out
    assert (
        json.loads((tmp_path / "report.json").read_text())["granularity"]["rows"][0]["chord_metric"] == 0.125
    )


def test_the_report_measures_everything_anew_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[str] = []
    sections = [
        replace(section, measure=lambda _arguments, name=section.name: measured.append(name))
        for section in report.SECTIONS
    ]
    monkeypatch.setattr(report, "SECTIONS", sections)
    report.main(["--measure"])
    assert measured == ["tables", "fidelity", "granularity", "comparisons", "relu_cost"]


def test_measuring_one_model_again_keeps_the_others_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    results.store("granularity", [row("cnn", 0.1), row("gcn", 0.2)])
    results.store("granularity", [row("gcn", 0.3)], ["gcn"])
    assert [(kept["model"], kept["chord_metric"]) for kept in results.load("granularity")] == [
        ("cnn", 0.1),
        ("gcn", 0.3),
    ]
    assert "keeps what was measured of cnn on" in capsys.readouterr().err
