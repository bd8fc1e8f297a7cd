"""Trains the network of gcn.py on 1022 molecules and writes trained/gcn.onnx.

python -m models.train_gcn
"""

from collections.abc import Iterator

import torch
from torch import nn

from models import gcn, solubility
from models.training import make_reproducible, save_and_report, shuffled_batches, train, weights_of

_EPOCHS = 200
_BATCH = 64
_WIDTH = 64
_DROPOUT = 0.2


class Network(nn.Module):
    """What gcn.build writes as ONNX; dropout is there in training only."""

    def __init__(self) -> None:
        super().__init__()
        self.layer0 = nn.Linear(solubility.FEATURES, _WIDTH)
        self.layer1 = nn.Linear(_WIDTH, _WIDTH)
        self.hidden = nn.Linear(2 * _WIDTH, _WIDTH)
        self.classifier = nn.Linear(_WIDTH, len(solubility.CLASSES))
        self.dropout = nn.Dropout(_DROPOUT)

    def forward(self, features: torch.Tensor, adjacency: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the logits [samples, 3] of graphs as solubility.Graphs describes them."""
        tensor = features
        for layer in (self.layer0, self.layer1):
            tensor = self.dropout(torch.relu(adjacency @ (tensor @ layer.weight.T) + layer.bias))
        total = (mask[:, None] @ tensor)[:, 0]
        pooled = torch.cat([total / mask.sum(dim=1, keepdim=True), total * gcn.SUM_SCALE], dim=1)
        logits: torch.Tensor = self.classifier(self.dropout(torch.relu(self.hidden(pooled))))
        return logits


def main() -> None:
    """Train, write and report; about a minute on one core."""
    make_reproducible()
    inputs, labels = _tensors(solubility.training())

    def batches() -> Iterator[tuple[tuple[torch.Tensor, ...], torch.Tensor]]:
        for chosen in shuffled_batches(labels, _BATCH):
            yield tuple(tensor[chosen] for tensor in inputs), labels[chosen]

    network = Network()
    train(network, batches, _EPOCHS, peak_rate=4e-3, weight_decay=0.02)
    test_inputs, _ = _tensors(solubility.test())
    save_and_report(gcn.MODEL, gcn.build(weights_of(network)), gcn.TRAINED, network, test_inputs)


def _tensors(graphs: solubility.Graphs) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
    inputs = (graphs.features, graphs.adjacency, graphs.mask)
    return tuple(torch.from_numpy(array) for array in inputs), torch.from_numpy(graphs.labels)


if __name__ == "__main__":
    main()
