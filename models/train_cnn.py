"""Trains the network of cnn.py on 4000 MNIST digits and writes trained/cnn.onnx.

python -m models.train_cnn
"""

from collections.abc import Iterator

import torch
from torch import nn

from models import cnn, mnist
from models.training import distorted, make_reproducible, save_and_report, shuffled_batches, train, weights_of

_EPOCHS = 60
_BATCH = 64


class ConvolutionBatchNorm(nn.Module):
    """A convolution without bias, and the batch normalisation after it."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=cnn.BATCH_NORM_EPSILON)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return [samples, outputs, height / stride, width / stride]."""
        result: torch.Tensor = self.bn(self.conv(images))
        return result


class Network(nn.Module):
    """What cnn.build writes as ONNX."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvolutionBatchNorm(1, 16, 3)
        self.depthwise = ConvolutionBatchNorm(16, 16, 3, groups=16)
        self.pointwise = ConvolutionBatchNorm(16, 32, 1)
        self.middle = ConvolutionBatchNorm(32, 32, 3)
        self.last = ConvolutionBatchNorm(32, 64, 3, stride=2)
        self.classifier = nn.Linear(64, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits [samples, 10] of images [samples, 1, 28, 28]."""
        tensor = nn.functional.max_pool2d(torch.relu(self.stem(images)), 2)
        tensor = nn.functional.silu(self.depthwise(tensor))
        tensor = torch.relu(self.pointwise(tensor))
        tensor = tensor + nn.functional.silu(self.middle(tensor))
        tensor = nn.functional.avg_pool2d(tensor, 2)
        tensor = nn.functional.silu(self.last(tensor)).mean(dim=(2, 3))
        logits: torch.Tensor = self.classifier(tensor)
        return logits


def main() -> None:
    """Train, write and report; about three minutes on one core."""
    make_reproducible()
    digits = mnist.training()
    images, labels = torch.from_numpy(digits.images)[:, None], torch.from_numpy(digits.labels)

    def batches() -> Iterator[tuple[tuple[torch.Tensor, ...], torch.Tensor]]:
        for chosen in shuffled_batches(labels, _BATCH):
            yield (distorted(images[chosen]),), labels[chosen]

    network = Network()
    train(network, batches, _EPOCHS, peak_rate=4e-3, weight_decay=0.02)
    test_images = torch.from_numpy(mnist.test().images)[:, None]
    save_and_report(cnn.MODEL, cnn.build(weights_of(network)), cnn.TRAINED, network, (test_images,))


if __name__ == "__main__":
    main()
