"""What benchmarks share: their arguments."""

import pytest

from tests.bench.results import parser_of


def test_a_benchmark_takes_any_of_its_names_or_none() -> None:
    parser = parser_of("what it measures", "network", ("small", "large"))
    assert parser.parse_args([]).network == []
    assert parser.parse_args(["large", "small"]).network == ["large", "small"]


def test_an_unknown_name_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        parser_of(None, "network", ("small", "large")).parse_args(["UNKNOWN"])
    assert refused.value.code == 2
    assert "invalid choice: 'UNKNOWN' (choose from 'small', 'large')" in capsys.readouterr().err
