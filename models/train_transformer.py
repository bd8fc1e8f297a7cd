"""Trains the encoder of transformer.py on 4000 MNIST digits and writes trained/transformer.onnx.

python -m models.train_transformer
"""

from collections.abc import Iterator

import torch
from torch import nn

from models import mnist, transformer
from models.training import distorted, make_reproducible, save_and_report, shuffled_batches, train, weights_of
from models.transformer import HEADS, HIDDEN_WIDTH, LAYER_NORM_EPSILON, LAYERS, WIDTH

_EPOCHS = 150
_BATCH = 64


class Layer(nn.Module):
    """Attention and a two-layer perceptron, each normalised before and added to what came in."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(WIDTH, eps=LAYER_NORM_EPSILON)
        self.query, self.key, self.value, self.output = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.norm2 = nn.LayerNorm(WIDTH, eps=LAYER_NORM_EPSILON)
        self.up = nn.Linear(WIDTH, HIDDEN_WIDTH)
        self.down = nn.Linear(HIDDEN_WIDTH, WIDTH)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return tokens [samples, rows, width] after the layer."""
        normal = self.norm1(tokens)
        query, key, value = (
            part(normal).unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.output(mixed.transpose(1, 2).flatten(2))
        return tokens + self.down(nn.functional.gelu(self.up(self.norm2(tokens))))


class Network(nn.Module):
    """What transformer.build writes as ONNX."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Linear(mnist.IMAGE_PIXELS, WIDTH)
        self.positions = nn.Parameter(torch.randn(mnist.IMAGE_PIXELS, WIDTH) * 0.02)
        for index in range(LAYERS):
            self.add_module(f"layer{index}", Layer())
        self.norm = nn.LayerNorm(WIDTH, eps=LAYER_NORM_EPSILON)
        self.classifier = nn.Linear(WIDTH, 10)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the logits [samples, 10] of images [samples, 28, 28]."""
        tokens = self.embedding(rows) + self.positions
        for index in range(LAYERS):
            tokens = self.get_submodule(f"layer{index}")(tokens)
        logits: torch.Tensor = self.classifier(self.norm(tokens).mean(dim=1))
        return logits


def main() -> None:
    """Train, write and report; about five minutes on one core."""
    make_reproducible()
    digits = mnist.training()
    images, labels = torch.from_numpy(digits.images), torch.from_numpy(digits.labels)

    def batches() -> Iterator[tuple[tuple[torch.Tensor, ...], torch.Tensor]]:
        for chosen in shuffled_batches(labels, _BATCH):
            yield (distorted(images[chosen][:, None])[:, 0],), labels[chosen]

    network = Network()
    train(network, batches, _EPOCHS, peak_rate=2e-3, weight_decay=0.05)
    test_rows = torch.from_numpy(mnist.test().images)
    save_and_report(
        transformer.MODEL, transformer.build(weights_of(network)), transformer.TRAINED, network, (test_rows,)
    )


if __name__ == "__main__":
    main()
