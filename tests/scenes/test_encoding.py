"""Numbers and what they stand for, both ways."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsfuse.errors import OutputError, SceneError
from hsfuse.scenes import Encoding

HERE = np.ones((4, 5), dtype=bool)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from(["uint8", "uint16", "int16"]),
    st.sampled_from([1.0, 1e-4, 0.005]),
    st.sampled_from([0.0, -0.1, 0.25]),
)
def test_numbers_survive_the_way_there_and_back(seed: int, dtype: str, scale: float, offset: float) -> None:
    limits = np.iinfo(dtype)
    encoding = Encoding.for_output(3, dtype, None, scale, offset)
    numbers = np.random.default_rng(seed).integers(limits.min + 1, limits.max + 1, (3, 4, 5)).astype(dtype)
    again, clipped = encoding.encode(encoding.decode(numbers), HERE)
    np.testing.assert_array_equal(again, numbers)
    assert (again.dtype, clipped) == (numbers.dtype, 0)
    assert encoding.has_data(again).all()


def test_each_band_has_its_own_scale_and_nodata() -> None:
    encoding = Encoding.of_file("int16", [-1, None, 7], [0.1, 0, np.nan], [1, np.inf, 3])
    numbers = np.array([[[-1, 7]], [[-1, 7]], [[-1, 7]]], np.int16)
    np.testing.assert_allclose(encoding.decode(numbers), [[[0.9, 1.7]], [[-1, 7]], [[2, 10]]], rtol=1e-6)
    assert encoding.has_data(numbers).tolist() == [[[False, True]], [[True, True]], [[True, False]]]
    assert encoding.select([2, 0]).offsets.tolist() == [3, 1]


def test_what_the_type_cannot_hold_is_counted() -> None:
    values = np.full((2, 4, 5), 0.3, np.float32)
    values[0, 0], values[1, 1, 1], values[1, 2, 2] = 2.0, -1.0, np.nan
    encoding = Encoding.for_output(2, "uint8", None, 1 / 255)
    numbers, clipped = encoding.encode(values, HERE)
    assert clipped == 6
    assert numbers[0, 0].tolist() == [255] * 5
    assert (numbers[1, 1, 1], numbers[1, 2, 2]) == (1, 0)  # the least one that is not nodata, and nodata
    hidden = HERE.copy()
    hidden[0] = False
    assert encoding.share_clipped(values, hidden) == pytest.approx(1 / 30)
    assert encoding.limits() == pytest.approx((0, 1))


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_negatives_are_clipped_where_asked(dtype: str) -> None:
    values = np.linspace(-1, 1, 20, dtype=np.float32).reshape(1, 4, 5)
    plain = Encoding.for_output(1, dtype, None, 1e-3)
    numbers, clipped = Encoding.for_output(1, dtype, None, 1e-3, clip_negative=True).encode(values, HERE)
    assert clipped == 0
    np.testing.assert_array_equal(numbers, np.maximum(plain.encode(values, HERE)[0], 0))
    assert plain.encode(values, HERE)[0].min() < 0


@pytest.mark.parametrize(
    ("dtype", "nodata", "sentence"),
    [("int8", None, "choose one of uint8"), ("uint8", -1, "not one of uint8"), ("float32", 1e300, "does not fit")],
)
def test_outputs_that_cannot_be_written(dtype: str, nodata: float | None, sentence: str) -> None:
    with pytest.raises(OutputError, match=sentence):
        Encoding.for_output(3, dtype, nodata)


@pytest.mark.parametrize(("scale", "offset"), [(0.0, 0.0), (np.nan, 0.0), (1.0, np.inf)])
def test_scales_that_cannot_be_undone(scale: float, offset: float) -> None:
    with pytest.raises(SceneError, match="cannot be undone"):
        Encoding("int16", np.full(1, np.nan), np.array([scale]), np.array([offset]))


def test_bands_have_to_belong_together() -> None:
    with pytest.raises(SceneError, match="one of each a band"):
        Encoding("int16", np.full(2, np.nan), np.ones(3), np.zeros(3))
