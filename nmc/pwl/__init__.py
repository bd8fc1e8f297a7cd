"""Piecewise linear tables: functions, fitting, tables in real numbers and in integers. Plain numpy."""

from nmc.pwl.fit import optimal_breakpoints
from nmc.pwl.functions import RULES, Function, TableError, function_named
from nmc.pwl.quantised_table import QuantisedTable
from nmc.pwl.table import Table, fit_table

__all__ = [
    "RULES",
    "Function",
    "QuantisedTable",
    "Table",
    "TableError",
    "fit_table",
    "function_named",
    "optimal_breakpoints",
]
