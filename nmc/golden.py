"""Level 0: the model as the user gave it, run by onnxruntime. Every other level is measured against it."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime

from nmc.errors import ModelError

if TYPE_CHECKING:
    import onnx

LOG_FATAL = 4


class Golden:
    """An onnxruntime session with some inputs bound to constants."""

    def __init__(self, model: "str | Path | onnx.ModelProto", binds: Mapping[str, np.ndarray]) -> None:
        """Raises ModelError when onnxruntime cannot run the model: then there is nothing to compare with."""
        options = onnxruntime.SessionOptions()
        options.log_severity_level = LOG_FATAL
        source = str(model) if isinstance(model, str | Path) else model.SerializeToString()
        try:
            self._session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises a different class for every cause
            raise ModelError(
                f"onnxruntime, which nmc check compares with, cannot load the model: {error}"
            ) from error
        self._binds = dict(binds)

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs by name for one sample; arrays are converted to the types that the model declares."""
        given = dict(inputs) | self._binds
        names = [item.name for item in self._session.get_outputs()]
        try:
            feeds = {
                item.name: np.asarray(given[item.name]).astype(_numpy_type(item.type))
                for item in self._session.get_inputs()
                if item.name in given
            }
            results = self._session.run(names, feeds)
        except Exception as error:  # as above
            raise ModelError(
                f"onnxruntime, which nmc check compares with, cannot run the model: {error}"
            ) from error
        return {name: np.asarray(result) for name, result in zip(names, results, strict=True)}


def _numpy_type(onnx_type: str) -> np.dtype:
    """The numpy type of onnxruntime's name for a tensor type, as in `tensor(float16)`."""
    element = onnx_type.removeprefix("tensor(").removesuffix(")")
    return np.dtype({"float": "float32", "double": "float64"}.get(element, element))
