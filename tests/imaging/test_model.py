"""B and R as operators, kernels and their phase, and the imaging model's file."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hsfuse.errors import ImagingError
from hsfuse.imaging import BlurDecimate, ImagingModel, PointSpread, SpectralResponse, load_psf, upsample

if TYPE_CHECKING:
    from pathlib import Path

RATIOS = st.integers(2, 8)
WIDTHS = st.floats(0.3, 2.0)
SHIFTS = st.tuples(st.floats(-1.5, 1.5), st.floats(-1.5, 1.5))
few = settings(max_examples=25, deadline=None)


@few
@given(RATIOS, WIDTHS, WIDTHS, st.floats(0, 180), SHIFTS, st.integers(0, 99))
def test_the_adjoint_of_b_is_its_adjoint(
    ratio: int, wide: float, high: float, angle: float, shift: tuple[float, float], seed: int
) -> None:
    blur = BlurDecimate(PointSpread.gaussian(ratio, (wide, high), angle=angle).shifted(shift))
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 4 * ratio, 5 * ratio, dtype=torch.float64, generator=draw)
    y = torch.randn(2, 4, 5, dtype=torch.float64, generator=draw)
    torch.testing.assert_close((blur(x) * y).sum(), (x * blur.adjoint(y)).sum(), rtol=1e-10, atol=1e-10)


@few
@given(RATIOS, WIDTHS, SHIFTS, st.floats(-100, 100))
def test_a_constant_image_stays_constant(ratio: int, fwhm: float, shift: tuple[float, float], value: float) -> None:
    blur = BlurDecimate(PointSpread.gaussian(ratio, fwhm).shifted(shift))
    image = torch.full((1, 3 * ratio, 3 * ratio), value, dtype=torch.float64)
    torch.testing.assert_close(blur(image), torch.full((1, 3, 3), value, dtype=torch.float64))


@few
@given(RATIOS, WIDTHS, SHIFTS)
def test_what_lies_outside_is_what_a_frame_of_ones_brings(ratio: int, fwhm: float, shift: tuple[float, float]) -> None:
    blur = BlurDecimate(PointSpread.gaussian(ratio, fwhm).shifted(shift))
    frame, (rows, columns) = 6, (4, 5)
    world = torch.ones(1, (rows + 2 * frame) * ratio, (columns + 2 * frame) * ratio, dtype=torch.float64)
    world[..., frame * ratio : -frame * ratio, frame * ratio : -frame * ratio] = 0
    expected = blur(world)[0, frame:-frame, frame:-frame].float()
    torch.testing.assert_close(blur.outside(rows, columns), expected, atol=1e-6, rtol=1e-5)


@few
@given(RATIOS, WIDTHS, SHIFTS)
def test_the_gain_of_noise_at_a_pixel_is_that_of_its_row_of_b(
    ratio: int, fwhm: float, shift: tuple[float, float]
) -> None:
    blur = BlurDecimate(PointSpread.gaussian(ratio, fwhm).shifted(shift))
    rows, columns = 4, 9
    each = torch.eye(rows * columns, dtype=torch.float64).reshape(-1, rows, columns)
    expected = blur.adjoint(each).square().sum(dim=(1, 2)).reshape(rows, columns)
    torch.testing.assert_close(blur.noise_gains(rows, columns), expected)


@few
@given(RATIOS, WIDTHS, SHIFTS)
def test_taps_that_weigh_nothing_go_and_the_blur_stays(ratio: int, fwhm: float, shift: tuple[float, float]) -> None:
    whole = PointSpread.gaussian(ratio, fwhm).shifted(shift)
    framed = PointSpread(0.99991 * np.pad(whole.kernel, 4), ratio)
    image = torch.rand(1, 6 * ratio, 6 * ratio, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    trimmed = framed.trimmed()
    assert len(trimmed.kernel) <= len(whole.kernel)
    torch.testing.assert_close(BlurDecimate(trimmed)(image), BlurDecimate(framed)(image), atol=2e-4, rtol=0)


def test_nothing_lies_outside_where_the_psf_stays_within_its_pixel() -> None:
    inner = BlurDecimate(PointSpread.gaussian(4, 0.3)).outside(3, 3)
    reaching = BlurDecimate(PointSpread.gaussian(4, 1.0)).outside(5, 5)
    assert not inner.any()
    assert not reaching[1:-1, 1:-1].any()
    assert reaching[0].min() > 0.05


def test_the_adjoint_of_r_is_its_adjoint() -> None:
    random = np.random.default_rng(0)
    rows = random.random((3, 20))
    srf = SpectralResponse(rows / rows.sum(axis=1, keepdims=True), ("a", "b", "c"))
    x, p = torch.from_numpy(random.standard_normal((20, 4, 5))), torch.from_numpy(random.standard_normal((3, 4, 5)))
    torch.testing.assert_close((srf.project(x) * p).sum(), (x * srf.adjoint(p)).sum())


@few
@given(RATIOS, st.floats(0.9, 1.6), st.floats(0.7, 1.4), st.floats(0.7, 1.4))
def test_a_blur_seen_from_pixels_of_another_shape(ratio: int, fwhm: float, wide: float, high: float) -> None:
    """Its width in the world stays; a pixel twice as wide sees it half as wide."""
    seen = PointSpread.gaussian(ratio, fwhm).seen_from(np.diag([wide, high]))
    narrow = min(fwhm / wide, fwhm / high) * ratio < 1.6  # then samples are too few for the figure
    assert seen.fwhm == pytest.approx((fwhm / wide, fwhm / high), rel=0.15 if narrow else 0.03)


def test_a_turned_blur_and_its_shift() -> None:
    srf = SpectralResponse(np.ones((1, 1)), ("a",))
    model = ImagingModel(srf, PointSpread.gaussian(4, (1.5, 0.8)), (0.5, 0.25))
    quarter = np.array([[0.0, -1.0], [1.0, 0.0]])  # to the right here is down there
    turned = model.seen_from(quarter)
    np.testing.assert_allclose(turned.psf.fwhm, model.psf.fwhm[::-1], rtol=1e-3)
    assert turned.shift == pytest.approx((0.25, -0.5))
    slanted = PointSpread.gaussian(4, (1.5, 0.8), angle=30)
    angle = np.radians(30)
    back = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    found = PointSpread.gaussian(4, (1.5, 0.8)).seen_from(back).kernel
    margin = (len(found) - len(slanted.kernel)) // 2
    np.testing.assert_allclose(found[margin:-margin, margin:-margin], slanted.kernel, atol=5e-3 * found.max())
    assert model.seen_from(np.eye(2)) is model


@pytest.mark.parametrize("ratio", [2, 3, 4, 5])
def test_an_impulse_shows_the_sampling_phase(ratio: int) -> None:
    # HSI pixel i is centred on fine position r·i + (r − 1)/2: mean position of what each sees must be that.
    size = 9 * ratio
    blur = BlurDecimate(PointSpread.gaussian(ratio, 1.0))
    ramp = torch.arange(size, dtype=torch.float64).expand(1, size, size)
    seen = blur(ramp)[0, 4]
    wanted = ratio * torch.arange(9, dtype=torch.float64) + (ratio - 1) / 2
    torch.testing.assert_close(seen[2:-2], wanted[2:-2])
    inner = slice(2 * ratio, -2 * ratio)
    linear = upsample(wanted.expand(1, 9, 9), ratio, "bilinear")[0, 0, inner]
    torch.testing.assert_close(linear, ramp[0, 0, inner])
    # torch's cubic (a = −0.75) bends a ramp a little; a wrong phase would be off by half a pixel.
    assert (upsample(wanted.expand(1, 9, 9), ratio)[0, 0, inner] - ramp[0, 0, inner]).abs().max() < 0.3


@few
@given(RATIOS, st.floats(-1.2, 1.2), st.floats(-1.2, 1.2))
def test_a_shift_is_in_hsi_pixels_and_says_where_the_hsi_looks(ratio: int, x: float, y: float) -> None:
    size = 11 * ratio
    blur = ImagingModel(SpectralResponse(np.ones((1, 1)), ("a",)), PointSpread.gaussian(ratio, 1.0), (x, y)).blur
    ramp = torch.arange(size, dtype=torch.float64)
    middle = ratio * 5 + (ratio - 1) / 2
    assert float(blur(ramp.expand(1, size, size))[0, 5, 5]) == pytest.approx(middle + x * ratio, abs=0.05)
    assert float(blur(ramp[:, None].expand(1, size, size))[0, 5, 5]) == pytest.approx(middle + y * ratio, abs=0.05)


def test_gaussians_have_the_width_and_direction_asked_for() -> None:
    assert PointSpread.gaussian(6, (1.3, 0.8), taps=36).fwhm == pytest.approx((1.3, 0.8), rel=0.01)
    turned = PointSpread.gaussian(6, (1.3, 0.8), angle=90, taps=36)
    assert turned.fwhm == pytest.approx((0.8, 1.3), rel=0.01)
    slanted = PointSpread.gaussian(6, (1.4, 0.7), angle=45, taps=36).kernel
    x, y = np.meshgrid(np.arange(36) - 17.5, np.arange(36) - 17.5)
    assert (slanted * x * y).sum() > 0.5  # x and y grow together


def test_the_file_brings_everything_back(tmp_path: Path) -> None:
    srf = SpectralResponse(np.array([[0.25, 0.75], [1.0, 0.0]]), ("B2", "B3"), np.array([500.0, 600.0]))
    model = ImagingModel(srf, PointSpread.gaussian(4, (1.1, 0.9)), (0.3, -0.2), {"srf": 0.01, "psf": 0.02})
    model.save(tmp_path / "imaging.json")
    again = ImagingModel.load(tmp_path / "imaging.json")
    np.testing.assert_allclose(again.psf.kernel, model.psf.kernel)
    np.testing.assert_allclose(again.srf.matrix, srf.matrix)
    assert (again.ratio, again.shift, again.residual) == (4, (0.3, -0.2), model.residual)
    assert again.psf.kernel.shape[0] % 2 == 0


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "hsfuse-imaging/1", "ratio": 3}'])
def test_other_files_are_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "imaging.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ImagingError, match=r"imaging\.json"):
        ImagingModel.load(path)


def test_point_spreads_are_loaded(tmp_path: Path) -> None:
    assert load_psf("gaussian:1.2,0.9", 6).fwhm == pytest.approx((1.2, 0.9), rel=0.03)
    path = tmp_path / "kernel.csv"
    np.savetxt(path, np.ones((4, 4)), delimiter=",")
    np.testing.assert_allclose(load_psf(str(path), 2).kernel, np.full((4, 4), 1 / 16))
    with pytest.raises(ImagingError, match="both are even or both are odd"):
        load_psf(str(path), 3)
    srf = SpectralResponse(np.ones((1, 1)), ("a",))
    ImagingModel(srf, PointSpread.gaussian(3, 1.0)).save(tmp_path / "m.json")
    with pytest.raises(ImagingError, match="ratio 3, the pair has ratio 4"):
        load_psf(str(tmp_path / "m.json"), 4)


@pytest.mark.parametrize(
    "source", ["gaussian", "gaussian:", "gaussian:0", "gaussian:-1", "gaussian:1,2,3", "gaussian:nan", "box"]
)
def test_other_point_spreads_are_refused(source: str) -> None:
    with pytest.raises(ImagingError):
        load_psf(source, 3)


def content() -> dict[str, Any]:
    """A complete imaging file."""
    srf = SpectralResponse(np.array([[0.25, 0.75]]), ("B2",), np.array([500.0, 600.0]))
    return ImagingModel(srf, PointSpread.gaussian(3, 1.0)).to_dict()


@pytest.mark.parametrize(
    ("part", "value", "sentence"),
    [
        (("srf",), None, "SRF"),
        (("srf",), [], "SRF"),
        (("srf", "matrix"), [], "empty"),
        (("srf", "matrix"), [[]], "empty"),
        (("srf", "matrix"), [[0.5, "a"]], "something else"),
        (("srf", "matrix"), [[0.5, 0.5], [1.0]], "differ in length"),
        (("srf", "matrix"), [[float("nan"), 1.0]], "finite"),
        (("srf", "msi_bands"), "B2", "list of MSI bands"),
        (("srf", "msi_bands"), [2], "not text"),
        (("srf", "hsi_wavelength_nm"), [500.0, float("nan")], "wavelengths"),
        (("psf",), {}, "kernel"),
        (("psf", "kernel"), [], "empty"),
        (("psf", "kernel"), [[1e-6] * 1001] * 1001, "larger than 32 HSI pixels"),
        (("psf", "kernel"), [[float("inf")]], "non-negative"),
        (("ratio",), 0, "ratio"),
        (("ratio",), 1e400, "ratio"),
        (("ratio",), 2.5, "ratio"),
        (("ratio",), {"a": 1}, "ratio"),
        (("shift_hsi_pixels",), {"x": float("nan"), "y": 0}, "not finite"),
        (("shift_hsi_pixels",), {"x": None, "y": 0}, "not a complete"),
        (("residual",), [1], "residual"),
    ],
)
def test_hostile_files_get_one_sentence(tmp_path: Path, part: tuple[str, ...], value: Any, sentence: str) -> None:
    written = content()
    place = written
    for name in part[:-1]:
        place = place[name]
    place[part[-1]] = value
    path = tmp_path / "imaging.json"
    path.write_text(json.dumps(written), encoding="utf-8")
    with pytest.raises(ImagingError, match=sentence) as caught:
        ImagingModel.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_files_that_are_no_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text("[" * 100_000, encoding="utf-8")
    with (tmp_path / "large.json").open("wb") as file:
        file.truncate(2**27)
    os.mkfifo(tmp_path / "pipe.json")
    for name, sentence in (("deep", "nested"), ("large", "134 MB"), ("pipe", "no such file"), ("none", "no such file")):
        with pytest.raises(ImagingError, match=sentence):
            ImagingModel.load(tmp_path / f"{name}.json")


def test_what_json_cannot_hold_is_null(tmp_path: Path) -> None:
    srf = SpectralResponse(np.ones((1, 1)), ("a",))
    path = tmp_path / "imaging.json"
    ImagingModel(srf, PointSpread.gaussian(3, 1.0), residual={"srf": float("inf"), "psf": float("nan")}).save(path)
    assert json.loads(path.read_text(encoding="utf-8"))["residual"] == {"srf": None, "psf": None}
    assert ImagingModel.load(path).residual == {}


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    srf = SpectralResponse(np.ones((1, 1)), ("a",))
    path = tmp_path / "imaging.json"
    path.write_text("what was there", encoding="utf-8")
    broken = ImagingModel(srf, PointSpread.gaussian(3, 1.0))
    object.__setattr__(broken.srf, "msi_bands", (object(),))
    with pytest.raises(TypeError):
        broken.save(path)
    assert path.read_text(encoding="utf-8") == "what was there"
    assert list(tmp_path.iterdir()) == [path]
    mask = os.umask(0o027)
    try:
        ImagingModel(SpectralResponse(np.ones((1, 1)), ("a",)), PointSpread.gaussian(3, 1.0)).save(path)
    finally:
        os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o640


def test_kernels_larger_than_a_blur_are_refused_before_they_are_made(tmp_path: Path) -> None:
    for source in ("gaussian:1e9", "gaussian:100,1"):
        with pytest.raises(ImagingError, match=rf"^{source}: .*larger than 32 HSI pixels"):
            load_psf(source, 3)
    path = tmp_path / "kernel.csv"
    path.write_text("\n".join(["1," * 1000 + "1"] * 1001), encoding="utf-8")
    with pytest.raises(ImagingError, match=r"kernel\.csv: a PSF kernel of 1001"):
        load_psf(str(path), 3)
    path.write_text("# nothing\n\n", encoding="utf-8")
    with pytest.raises(ImagingError, match=r"kernel\.csv"):
        load_psf(str(path), 3)


@pytest.mark.parametrize("ratio", [3, 4])
def test_a_gaussian_of_no_width_is_a_point(ratio: int) -> None:
    kernel = PointSpread.gaussian(ratio, 1e-300).kernel
    assert kernel.max() == pytest.approx(1 if ratio % 2 else 0.25)
