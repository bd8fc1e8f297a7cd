"""What the training scripts share. They need torch, as nothing else here does: pip install torch==2.13.0"""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

from models.graph import save_model
from models.model import Array, Model

SEED = 0


def make_reproducible() -> None:
    """Fix the seed, and use one thread so that no sum depends on the number of cores."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)


def distorted(images: torch.Tensor) -> torch.Tensor:
    """Return images [samples, 1, height, width], each turned, scaled and shifted a little at random."""
    count = len(images)
    angle = (torch.rand(count) - 0.5) * 0.5
    scale = 1 + (torch.rand(count) - 0.5) * 0.25
    shift = (torch.rand(count, 2) - 0.5) * 0.25
    cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
    turn = torch.stack([torch.stack([cosine, -sine], 1), torch.stack([sine, cosine], 1)], 1)
    grid = torch.nn.functional.affine_grid(torch.cat([turn, shift[:, :, None]], 2), list(images.shape), False)
    return torch.nn.functional.grid_sample(images, grid, align_corners=False)


def train(
    network: torch.nn.Module,
    batches: Callable[[], Iterable[tuple[tuple[torch.Tensor, ...], torch.Tensor]]],
    epochs: int,
    peak_rate: float,
    weight_decay: float,
) -> None:
    """Minimise cross entropy with AdamW; the rate rises for a tenth of the epochs, then falls like a cosine.

    `batches` yields, for one epoch, the network's inputs and the labels.
    """
    optimizer = torch.optim.AdamW(network.parameters(), lr=peak_rate, weight_decay=weight_decay)
    warm_up = max(1, epochs // 10)
    network.train()
    for epoch in range(epochs):
        progress = max(0.0, (epoch - warm_up) / (epochs - warm_up))
        factor = min((epoch + 1) / warm_up, 0.5 * (1 + np.cos(np.pi * progress)))
        for group in optimizer.param_groups:
            group["lr"] = peak_rate * factor
        total, count = 0.0, 0
        for inputs, labels in batches():
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(network(*inputs), labels, label_smoothing=0.05)
            loss.backward()
            optimizer.step()
            total, count = total + loss.item() * len(labels), count + len(labels)
        if epoch % 10 == 9 or epoch == epochs - 1:
            print(f"epoch {epoch + 1}/{epochs}: loss {total / count:.4f}", flush=True)
    network.eval()


def shuffled_batches(labels: torch.Tensor, size: int) -> Iterable[torch.Tensor]:
    """Yield the indices of the samples in random order, `size` at a time."""
    yield from torch.randperm(len(labels)).split(size)


def weights_of(network: torch.nn.Module) -> dict[str, Array]:
    """Return the parameters and statistics of a network by name."""
    return {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}


def save_and_report(
    model: Model,
    built: onnx.ModelProto,
    path: Path,
    network: torch.nn.Module,
    inputs: tuple[torch.Tensor, ...],
) -> None:
    """Write the trained model, print its test accuracy, and fail if the ONNX file says other than torch does.

    `inputs` are the network's inputs for the test samples, in the order of the model's inputs.
    """
    save_model(built, path)
    session = onnxruntime.InferenceSession(str(path))
    data = model.test()
    samples = [{name: array[i] for name, array in data.items()} for i in range(len(model.labels()))]
    name = session.get_outputs()[0].name
    outputs = np.stack([session.run([name], sample)[0] for sample in samples])
    with torch.no_grad():
        expected = network(*inputs).numpy()
    difference = float(np.abs(outputs[:, 0] - expected).max())
    accuracy = model.metric({name: outputs}, model.labels())
    print(
        f"{path.name}: {path.stat().st_size} bytes, {model.metric_name} {accuracy:.4f}, "
        f"largest difference from torch {difference:.1e}"
    )
    if difference > 1e-3:
        raise SystemExit("the ONNX model and the torch network differ; the two definitions no longer agree")
