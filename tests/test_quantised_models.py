"""A model that was quantised before keeps its own scales: the accelerator's integers are onnxruntime's."""

import numpy as np
import onnx
import onnxruntime
import pytest

import nmc
from tests.architectures.writer import Writer

STEPS = {np.uint8: (0, 255), np.int8: (-128, 127)}


class QuantisedWriter(Writer):
    """Writes tensors on grids of 8 bits, as quantisers do: QuantizeLinear, then DequantizeLinear."""

    def __init__(self, activations: type[np.integer]) -> None:
        """Hold activations in this type: unsigned bytes have a zero point, signed ones have none."""
        super().__init__("quantised")
        self.activations = activations
        self.numbers = np.random.default_rng(7)

    def on_grid(self, x: str, scale: float, zero: int) -> str:
        """A tensor on the grid of this scale and zero point, which signed activations leave out."""
        constants = (
            self.constant(scale),
            self.constant(zero if self.activations is np.uint8 else 0, self.activations),
        )
        return self.node("DequantizeLinear", self.node("QuantizeLinear", x, *constants), *constants)

    def weights(self, *shape: int) -> tuple[str, np.ndarray]:
        """Weights with a scale a row, of seven bits, so that no processor's sums of pairs of products saturate."""
        scales = self.numbers.uniform(0.003, 0.01, shape[0]).astype(np.float32)
        values = self.numbers.integers(-64, 64, shape).astype(np.int8)
        zeros = self.constant(np.zeros(shape[0]), np.int8)
        return self.node(
            "DequantizeLinear", self.constant(values, np.int8), self.constant(scales), zeros, axis=0
        ), scales

    def bias(self, scales: np.ndarray) -> str:
        """A bias in the accumulator's steps, which are these."""
        values = self.numbers.integers(-900, 900, scales.shape).astype(np.int32)
        zeros = self.constant(np.zeros(scales.shape), np.int32)
        return self.node(
            "DequantizeLinear", self.constant(values, np.int32), self.constant(scales), zeros, axis=0
        )


def network(activations: type[np.integer]) -> tuple[onnx.ModelProto, np.ndarray]:
    """Convolutions, a residual, pooling and a classifier, quantised everywhere; seeded images [samples, 1, 3, 12, 12]."""
    writer = QuantisedWriter(activations)
    image = writer.image("image", 1, 3, 12, 12)
    x = writer.on_grid(image, 0.02613, 121)
    weight, scales = writer.weights(8, 3, 3, 3)
    bias = writer.bias(scales * np.float32(0.02613))
    first = writer.node("Conv", x, weight, bias, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    first = writer.on_grid(writer.node("Relu", first), 0.01371, 0)
    weight, scales = writer.weights(8, 1, 3, 3)
    bias = writer.bias(scales * np.float32(0.01371))
    second = writer.node("Conv", first, weight, bias, kernel_shape=[3, 3], pads=[1, 1, 1, 1], group=8)
    total = writer.on_grid(writer.node("Add", writer.on_grid(second, 0.02177, 118), first), 0.02931, 101)
    pooled = writer.on_grid(writer.node("MaxPool", total, kernel_shape=[2, 2], strides=[2, 2]), 0.02931, 101)
    weight, scales = writer.weights(10, 8 * 36)
    rows = writer.node("Reshape", pooled, writer.shape(1, 8 * 36))
    logits = writer.node("Gemm", rows, weight, writer.bias(scales * np.float32(0.02931)), transB=1)
    architecture = writer.finish(writer.on_grid(logits, 0.2517, 128))
    return architecture.model, np.concatenate([architecture.calibration["image"], architecture.test["image"]])


@pytest.mark.parametrize("bits", [16, 8])
@pytest.mark.parametrize("activations", STEPS, ids=lambda kind: kind.__name__)
def test_every_integer_of_a_quantised_model_is_onnxruntimes(activations: type[np.integer], bits: int) -> None:
    model, images = network(activations)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    executable = nmc.compile(model, target="gemm-accel", calibration={"image": images}, bits=bits)
    assert not executable.manifest.fallback
    wanted = np.stack([session.run(None, {"image": image})[0] for image in images])
    result = np.stack([next(iter(executable.run({"image": image}).values())) for image in images])
    np.testing.assert_array_equal(np.rint(result / 0.2517), np.rint(wanted / 0.2517))
    assert len(np.unique(np.rint(wanted / 0.2517))) > 50
