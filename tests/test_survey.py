"""The stored table of operators is what the compiler does today."""

import pytest

from nmc.ops import operator_table
from nmc.survey import _cases_by_operator, _row

SAMPLED = ("Add", "Conv", "Gelu", "MatMul", "MaxPool", "Softmax", "TopK", "NonZero")


def test_sampled_rows_of_the_operator_table_are_up_to_date() -> None:
    stored = {row.operator: row for row in operator_table().rows}
    cases = _cases_by_operator()
    assert set(stored) == set(cases), "onnx has other operators than the table: run `python -m nmc.survey`"
    for operator in SAMPLED:
        assert stored[operator] == _row(operator, cases[operator]), "run `python -m nmc.survey`"


@pytest.mark.parametrize("operator", ["Conv", "MatMul", "Softmax", "LayerNormalization", "Gelu"])
def test_what_networks_are_made_of_runs_on_the_accelerator(operator: str) -> None:
    row = next(row for row in operator_table().rows if row.operator == operator)
    assert row.runs_on == "accelerator"
    assert not row.reasons
