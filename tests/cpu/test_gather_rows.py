"""Windows of images whose channels lie together."""

import numpy as np
import pytest

from passes.matrix_form.im2col import Window
from targets.cpu.gather_rows import window_places
from targets.cpu.numpy_calls import windows

WINDOWS = [
    (Window((3,), (1,), (1,), (1,), (1,)), (7,)),
    (Window((3, 2), (2, 1), (1, 3), (1, 0), (0, 2)), (6, 9)),
    (Window((2, 3, 1), (1, 2, 2), (2, 1, 1), (0, 2, 0), (1, 1, 0)), (4, 5, 3)),
]


@pytest.mark.parametrize(("window", "spatial"), WINDOWS)
def test_places_name_the_rows_that_windows_read(window: Window, spatial: tuple[int, ...]) -> None:
    batch, channels = 2, 3
    x = np.random.default_rng(1).standard_normal((batch, channels, *spatial)).astype(np.float32)
    rows = np.moveaxis(x, 1, -1).reshape(-1, channels)
    places = window_places(window, batch, spatial)
    gathered = np.where(places[..., None] >= 0, rows[places], 0)
    np.testing.assert_array_equal(gathered.reshape(1, len(places), -1), windows(x, window, 0.0))
