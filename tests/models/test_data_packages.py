"""Files inside data packages are found, and what is missing is named with the command that brings it."""

import re

import pytest

from models.packages import package_file
from nmc.errors import ModelError


def test_a_file_of_an_installed_package_is_found() -> None:
    assert package_file("magika", "magika/models/standard_v3_3/model.onnx").stat().st_size > 3_000_000


def test_a_package_that_is_not_installed_is_named_with_the_command() -> None:
    with pytest.raises(ModelError, match=r"no-such-package.*run: pip install no-such-package$"):
        package_file("no-such-package", "file")


def test_another_version_than_the_measured_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.packages._pinned_version", lambda package: "0.0.1")
    with pytest.raises(ModelError, match=re.escape("pip install --no-deps magika==0.0.1")):
        package_file("magika", "magika/models/standard_v3_3/model.onnx")


def test_a_file_that_a_package_lacks_is_named() -> None:
    with pytest.raises(ModelError, match=r"lacks its file magika/nothing"):
        package_file("magika", "magika/nothing")
