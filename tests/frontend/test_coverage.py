"""The table of operators tells what the importer does."""

import pytest

from nmc.frontend.coverage import how_imported, standard_operators


@pytest.mark.parametrize(
    ("operator", "domain", "how"),
    [
        ("Loop", "", "evaluated at import"),
        ("LSTM", "", "converter"),
        ("FastGelu", "com.microsoft", "converter"),
        ("Attention", "", "function body"),
        ("GridSample", "", "TVM's converter"),
        ("NonZero", "", "unsupported"),
        ("RandomNormal", "", "unsupported"),
        ("Conv", "acme", "unsupported"),
    ],
)
def test_each_way_of_importing_is_told_apart(operator: str, domain: str, how: str) -> None:
    assert how_imported(operator, domain) == how


def test_the_standards_operators_are_listed_once_each() -> None:
    names = standard_operators()
    assert len(names) == len(set(names)) > 150
    assert "Upsample" not in names  # deprecated
