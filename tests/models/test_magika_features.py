"""Magika's features are those of its own package: 1024 bytes from each end, stripped, padded with 256."""

import numpy as np

from models.magika import features


def test_a_short_file_is_padded_behind_its_head_and_before_its_tail() -> None:
    row = features(b"  abc\n")[0]
    assert row[:3].tolist() == list(b"abc")
    assert row[3:5].tolist() == [ord("\n"), 256]
    assert row[-5:].tolist() == list(b"  abc")
    assert (row[4:-5] == 256).all()


def test_a_long_file_gives_the_ends_of_its_first_and_last_blocks() -> None:
    content = bytes(np.random.default_rng(0).integers(33, 127, 10_000, dtype=np.uint8))
    assert bytes(features(b"\t" + content + b"\n")[0].astype(np.uint8)) == content[:1024] + content[-1024:]


def test_white_space_is_stripped_within_the_first_4096_bytes_only() -> None:
    row = features(b" " * 4090 + b"a" * 4096)[0]
    assert row[:7].tolist() == [ord("a")] * 6 + [256]


def test_an_empty_file_is_padding_alone() -> None:
    assert (features(b"") == 256).all()
