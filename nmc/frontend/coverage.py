"""Which ONNX operators the frontend translates, and how: read from the tables that the importer uses."""

from typing import Any, Literal

import onnx

from nmc.frontend import control_flow, tvm_converters
from nmc.frontend.converters import find_converter
from nmc.frontend.fold import NOT_DETERMINISTIC

How = Literal["evaluated at import", "converter", "function body", "TVM's converter", "unsupported"]


def how_imported(operator: str, domain: str = "") -> How:
    """How a node of this operator is translated when its inputs are not all constant."""
    if (domain, operator) in control_flow.HANDLERS or (not domain and operator == "Constant"):
        return "evaluated at import"
    if operator in NOT_DETERMINISTIC and not domain:
        return "unsupported"
    if find_converter(domain, operator) is not None:
        return "converter"
    try:
        schema: Any = onnx.defs.get_schema(operator, domain)
    except onnx.defs.SchemaError:
        schema = None
    if schema is not None and (schema.has_function or schema.has_context_dependent_function):
        return "function body"
    return "TVM's converter" if (domain, operator) in tvm_converters.OPERATORS else "unsupported"


def standard_operators() -> tuple[str, ...]:
    """The operators of the standard's own domain that are not deprecated, in alphabetical order."""
    schemas = onnx.defs.get_all_schemas()
    return tuple(sorted({schema.name for schema in schemas if not schema.domain and not schema.deprecated}))
