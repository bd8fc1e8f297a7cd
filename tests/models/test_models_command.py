"""`python -m models` writes the files that the nmc commands read."""

from pathlib import Path

import numpy as np
import onnx
import pytest

import models
from models.__main__ import main


def test_build_writes_the_model_and_its_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", "gcn", str(tmp_path / "gcn")]) == 0
    written = sorted(path.name for path in (tmp_path / "gcn").iterdir())
    assert written == ["calibration.npz", "labels.npy", "model.onnx", "test.npz"]
    onnx.checker.check_model(str(tmp_path / "gcn" / "model.onnx"))
    with np.load(tmp_path / "gcn" / "test.npz") as data:
        for name, array in models.get("gcn").test().items():
            assert np.array_equal(data[name], array)
    assert "--shape features=1,48,16 --shape adjacency=1,48,48 --shape mask=1,48" in capsys.readouterr().out


def test_the_list_names_every_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(models.NAMES)


def test_a_missing_package_is_one_line_on_standard_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.packages._pinned_version", lambda package: "0.0.1")
    assert main(["build", "magika", str(tmp_path)]) == 2
    output = capsys.readouterr()
    assert output.err.startswith("error: package magika") and output.err.count("\n") == 1
    assert output.out == ""
