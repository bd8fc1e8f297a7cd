"""Runs a package: the Python face of nmc."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from nmc.data import checked_inputs
from nmc.defaults import DEFAULT_MAX_LOSS
from nmc.errors import PackageError
from nmc.manifest import BorderTensor, Manifest, PackageTensor
from nmc.package import HOST, Package, read_package, write_package
from nmc.programs import check_accelerator
from nmc.quant import fixed_point

if TYPE_CHECKING:
    import onnx

    from nmc.profile import Profile

Arrays = Mapping[str, np.ndarray]
Progress = Callable[[str], None]


class Executable:
    """A compiled model. Running one needs no onnx, and TVM only where some operator runs on the CPU."""

    def __init__(self, package: Package) -> None:
        """Prepares a package to run; raises PackageError when this nmc's accelerator is not the package's."""
        check_accelerator(package.manifest)
        self.package = package
        self._backend: Backend = HostBackend(package) if package.host is not None else BorderBackend(package)

    @property
    def manifest(self) -> Manifest:
        """What the package says about itself."""
        return self.package.manifest

    @property
    def inputs(self) -> tuple[PackageTensor, ...]:
        """The inputs of the model, in order."""
        return self.manifest.inputs

    @property
    def outputs(self) -> tuple[PackageTensor, ...]:
        """The outputs of the model, in order."""
        return self.manifest.outputs

    def run(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """Runs the model once: one array for each input, of the input's shape; returns the outputs by name.

        Raises CalibrationError, listing every problem, for a wrong name, shape or element type, and, unless the
        package runs a float level on the CPU, for values that are not finite.
        """
        values = checked_inputs(inputs, self.inputs, finite=not self.manifest.runs_floats)
        results = self._backend.run([values[tensor.name] for tensor in self.inputs])
        return {tensor.name: result for tensor, result in zip(self.outputs, results, strict=True)}

    def run_samples(self, samples: Arrays, progress: Progress = lambda step: None) -> dict[str, np.ndarray]:
        """Runs the model on each sample: arrays with a leading sample axis, which the outputs have too."""
        count = len(next(iter(samples.values()))) if samples else 1
        results = []
        for index in range(count):
            progress(f"running: sample {index + 1} of {count}")
            results.append(self.run({name: array[index] for name, array in samples.items()}))
        return {tensor.name: np.stack([result[tensor.name] for result in results]) for tensor in self.outputs}

    def save(self, path: str | Path) -> None:
        """Writes the package, atomically; raises NmcError where that is not possible."""
        write_package(self.package, Path(path))

    def profile(self) -> "Profile":
        """Simulated cycles, utilisation and memory traffic of the command streams, by layer."""
        from nmc.profile import profile_package

        return profile_package(self.package)


class Backend(Protocol):
    """Something that runs a package once."""

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Takes checked arrays in the order of the inputs, returns the outputs in order."""


class BorderBackend:
    """The whole model is one command stream: the host only converts floats to integers and back."""

    def __init__(self, package: Package) -> None:
        from targets.gemm_accel.runtime import create_module

        self._manifest = package.manifest
        border, regions = package.manifest.border, package.manifest.regions
        if border is None or [region.symbol for region in regions] != [border.symbol]:
            model = package.manifest.model
            raise PackageError(f"the package of '{model}' has neither one command stream nor host code")
        self._border = border
        module = create_module(border.symbol, package.region_program(0), package.region_constants(0))
        self._function: Any = module[border.symbol]

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Takes checked arrays in the order of the inputs, returns the outputs in order."""
        import tvm_ffi

        values = {tensor.name: value for tensor, value in zip(self._manifest.inputs, inputs, strict=True)}
        given = [_to_accelerator(tensor, values[tensor.name]) for tensor in self._border.inputs]
        leaving = list(zip(self._border.outputs, self._manifest.outputs, strict=True))
        results = [np.zeros(user.shape, tensor.dtype) for tensor, user in leaving]
        self._function(*(tvm_ffi.from_dlpack(array) for array in [*given, *results]))
        return [
            _from_accelerator(tensor, result, user)
            for (tensor, user), result in zip(leaving, results, strict=True)
        ]


class HostBackend:
    """Some operators run on the CPU: TVM's virtual machine runs them and calls the command streams."""

    def __init__(self, package: Package) -> None:
        import tvm
        from tvm import relax

        from targets.cpu.processor import missing_features

        if missing := missing_features(package.manifest.host_features):
            raise PackageError(
                f"the host code of '{package.manifest.model}' needs {', '.join(missing)}, which this processor has not: "
                "compile the model here"
            )
        if package.manifest.accelerator is not None:
            from targets.gemm_accel.runtime import register

            register()
        with tempfile.TemporaryDirectory(prefix="nmc-") as directory:
            path = Path(directory) / HOST
            path.write_bytes(package.host or b"")
            try:
                library = tvm.runtime.load_module(str(path))
            except (OSError, RuntimeError) as error:
                raise PackageError(
                    f"the host code of '{package.manifest.model}' does not load: {error}"
                ) from error
        self._machine: Any = relax.VirtualMachine(library, tvm.cpu())

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        import tvm

        result = self._machine["main"](*(tvm.runtime.tensor(array) for array in inputs))
        outputs = [result] if isinstance(result, tvm.runtime.Tensor) else list(result)
        return [output.numpy() for output in outputs]


def _to_accelerator(tensor: BorderTensor, value: np.ndarray) -> np.ndarray:
    dtype = np.dtype(tensor.dtype)
    if tensor.scale is None:
        # always a copy: DLPack takes only writable arrays, though nothing writes to this one
        return np.array(value, dtype, order="C")
    # numpy turns a result without axes into a scalar, which has no memory to hand over
    return np.asarray(fixed_point.quantise(value, tensor.scale, dtype.itemsize * 8).astype(dtype))


def _from_accelerator(tensor: BorderTensor, value: np.ndarray, user: PackageTensor) -> np.ndarray:
    if tensor.scale is None:
        return value.astype(user.dtype)
    return fixed_point.dequantise(value, tensor.scale)


def load(path: str | Path) -> Executable:
    """Opens a package; raises PackageError for one that is damaged, newer, or for another accelerator."""
    return Executable(read_package(Path(path)))


def compile(
    model: "str | Path | onnx.ModelProto",
    target: str = "gemm-accel",
    *,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    binds: Arrays | None = None,
    calibration: Arrays | None = None,
    bits: int | str = 16,
    max_loss: float = DEFAULT_MAX_LOSS,
    calibration_method: str = "min-max",
    pwl_segments: int | None = None,
    pwl_granularity: float | None = None,
    pwl_max_error: float | None = None,
    pwl_weighted: bool = False,
    config: str = "default",
    require_full_offload: bool = False,
    progress: Progress = lambda step: None,
) -> Executable:
    """Compiles an ONNX model for a target, "gemm-accel" or "cpu".

    `shapes` pins dynamic inputs, `binds` makes inputs constants, `calibration` holds samples by input name,
    [samples, *input shape], that the ranges are measured on (without it: seeded synthetic ones, with a
    warning). `bits` is 16, 8 or "auto", which may cost the outputs `max_loss` of their cosine. The other options are those
    of `nmc compile`. Raises NmcError with one line that names what is
    wrong.
    """
    from nmc.compiler import compile_model
    from nmc.options import Options
    from nmc.packaging import package_of

    options = Options(
        target=target,
        shapes=shapes or {},
        binds=binds or {},
        calibration=calibration,
        bits=bits,
        max_loss=max_loss,
        calibration_method=calibration_method,
        pwl_segments=pwl_segments,
        pwl_granularity=pwl_granularity,
        pwl_max_error=pwl_max_error,
        pwl_weighted=pwl_weighted,
        config=config,
        require_full_offload=require_full_offload,
    )
    return Executable(package_of(compile_model(model, options, progress)))
