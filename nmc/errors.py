"""The errors a user of nmc can meet. Each message is one line that names what broke and what to do."""

from collections.abc import Iterable


class NmcError(Exception):
    """Base of every error that nmc raises on purpose; the CLI prints its message alone and exits with `exit_code`."""

    exit_code = 2


class ModelError(NmcError):
    """The ONNX model cannot be read, is not valid, or needs information that was not given."""


class UnsupportedOperatorError(NmcError):
    """An operator that neither the accelerator nor the CPU can run; the message names node and operator.

    `inputs_to_bind` are the inputs of the model that would have to be constants for it to compile.
    """

    def __init__(self, message: str, inputs_to_bind: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.inputs_to_bind = tuple(dict.fromkeys(inputs_to_bind))


class CalibrationError(NmcError):
    """Calibration or input data whose names, shapes or values do not fit the model."""


class UndefinedResultError(CalibrationError):
    """A result of the model that is not a number on its data."""


class ConfigError(NmcError):
    """An accelerator configuration that no hardware could have, or that the compiler cannot use."""


class PackageError(NmcError):
    """A package that is corrupt, truncated, from a newer format, or for another accelerator."""


class ProgramError(NmcError):
    """A command stream that the assembler, the validator or the simulator refuses."""


class CheckFailedError(NmcError):
    """A check ran to its end and its result is outside the promised bounds."""

    exit_code = 1
