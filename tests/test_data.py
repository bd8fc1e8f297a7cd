"""What a user gives a model is checked by name, shape, element type and value before anything runs on it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from nmc.data import checked_inputs, checked_samples, read_npy, read_npz, write_npz
from nmc.errors import CalibrationError


@dataclass(frozen=True)
class Input:
    name: str
    shape: tuple[int, ...]
    dtype: str
    index_limit: int | None = None
    is_mask: bool = False


IMAGE = Input("image", (1, 3, 4, 4), "float32")
IDS = Input("ids", (1, 5), "int64")


def images(samples: int) -> np.ndarray:
    return np.zeros((samples, 1, 3, 4, 4), np.float32)


def test_arrays_survive_the_file_unchanged(tmp_path: Path) -> None:
    arrays = {"a/b:0": np.arange(6).reshape(2, 3), "c": np.array([1.5], np.float32)}
    write_npz(tmp_path / "data.npz", arrays)
    read = read_npz(tmp_path / "data.npz")
    assert list(read) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)
        assert read[name].dtype == array.dtype


def test_equal_arrays_are_written_as_equal_bytes(tmp_path: Path) -> None:
    for name in ("one.npz", "two.npz"):
        write_npz(tmp_path / name, {"x": np.arange(4.0)})
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"PK\x03\x04 cut short"], ids=["empty", "text", "truncated"]
)
def test_a_file_that_is_not_npz_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    with pytest.raises(CalibrationError, match=r"data\.npz' is not a readable \.npz file"):
        read_npz(path)


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.array([{"code": 1}], dtype=object))
    with pytest.raises(CalibrationError, match="plain arrays"):
        read_npz(tmp_path / "data.npz")


def test_a_single_array_is_not_a_data_file(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(3))
    with pytest.raises(CalibrationError, match="holds one array without a name"):
        read_npz(tmp_path / "x.npy")


def test_an_archive_is_not_a_single_array(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.zeros(3))
    with pytest.raises(CalibrationError, match="several arrays"):
        read_npy(tmp_path / "data.npz")


def test_samples_have_a_leading_axis_and_take_the_inputs_type() -> None:
    samples = checked_samples(
        {"image": images(2).astype(np.float64), "ids": np.ones((2, 1, 5), np.int32)}, [IMAGE, IDS], "d"
    )
    assert samples["image"].dtype == np.float32
    assert samples["ids"].dtype == np.int64


def test_a_missing_sample_axis_is_explained() -> None:
    with pytest.raises(
        CalibrationError, match=r"shape \[1, 3, 4, 4\], expected \[samples, 1, 3, 4, 4\] .*sample axis"
    ):
        checked_samples({"image": images(1)[0]}, [IMAGE], "d")


def test_all_problems_are_listed_at_once() -> None:
    with pytest.raises(CalibrationError) as caught:
        checked_samples({"picture": images(1), "ids": np.zeros((1, 1, 6), np.int64)}, [IMAGE, IDS], "'d.npz'")
    message = str(caught.value)
    assert message.startswith("'d.npz': ")
    assert "'picture' is not an input of the model (its inputs: 'image', 'ids')" in message
    assert "input 'image' is missing" in message
    assert "input 'ids' has shape [1, 1, 6], expected [samples, 1, 5]" in message


def test_a_value_that_is_not_a_number_is_located() -> None:
    data = images(2)
    data[1, 0, 2, 3, 1] = np.nan
    with pytest.raises(
        CalibrationError, match=r"input 'image' holds nan at \[1, 0, 2, 3, 1\] \(1 of 96 values"
    ):
        checked_samples({"image": data}, [IMAGE], "d")


def test_a_double_beyond_float32_is_refused() -> None:
    with pytest.raises(CalibrationError, match="not finite in float32"):
        checked_samples({"image": np.full((1, 1, 3, 4, 4), 1e300)}, [IMAGE], "d")


def test_floats_are_not_taken_for_ids() -> None:
    with pytest.raises(CalibrationError, match="input 'ids' holds float32, expected int64"):
        checked_samples({"ids": np.zeros((1, 1, 5), np.float32)}, [IDS], "d")


def test_integers_that_do_not_fit_are_refused() -> None:
    narrow = Input("ids", (1,), "int8")
    with pytest.raises(CalibrationError, match="outside the range of int8"):
        checked_samples({"ids": np.array([[128]])}, [narrow], "d")


def test_inputs_need_equal_numbers_of_samples() -> None:
    with pytest.raises(CalibrationError, match=r"same number of samples.*'image' 2, 'ids' 3"):
        checked_samples({"image": images(2), "ids": np.zeros((3, 1, 5), np.int64)}, [IMAGE, IDS], "d")


def test_no_samples_are_refused() -> None:
    with pytest.raises(CalibrationError, match="holds no samples"):
        checked_samples({"image": images(0)}, [IMAGE], "d")


def test_one_run_takes_exactly_the_inputs_shape() -> None:
    assert checked_inputs({"image": images(1)[0]}, [IMAGE])["image"].shape == (1, 3, 4, 4)
    with pytest.raises(CalibrationError, match=r"shape \[1, 1, 3, 4, 4\], expected \[1, 3, 4, 4\]"):
        checked_inputs({"image": images(1)}, [IMAGE])


def test_a_scalar_input_keeps_its_rank() -> None:
    scalar = Input("x", (), "float32")
    assert checked_inputs({"x": np.float32(2.0)}, [scalar])["x"].shape == ()
    assert checked_samples({"x": np.ones(3)}, [scalar], "d")["x"].shape == (3,)


def test_labels_beside_the_inputs_are_left_out_with_a_warning() -> None:
    arrays = {"image": images(2), "labels": np.arange(2)}
    with pytest.warns(UserWarning, match=r"d\.npz: 'labels' is not an input of the model .*; ignored"):
        assert list(checked_samples(arrays, [IMAGE], "d.npz")) == ["image"]


def test_one_run_takes_no_unknown_names() -> None:
    with pytest.raises(CalibrationError, match="'labels' is not an input"):
        checked_inputs({"image": images(1)[0], "labels": np.arange(2)}, [IMAGE])


@pytest.mark.parametrize(("index", "fits"), [(-7, True), (6, True), (-8, False), (7, False)])
def test_an_index_lies_within_the_rows_that_it_chooses_from(index: int, fits: bool) -> None:
    tensor, array = Input("ids", (2,), "int64", index_limit=7), np.array([[0, 1], [2, index]])
    if fits:
        np.testing.assert_array_equal(checked_samples({"ids": array}, [tensor], "data")["ids"], array)
        return
    message = rf"data: input 'ids' holds {index} at \[1, 1\], but is an index into 7 rows: expected -7 to 6"
    with pytest.raises(CalibrationError, match=message):
        checked_samples({"ids": array}, [tensor], "data")
