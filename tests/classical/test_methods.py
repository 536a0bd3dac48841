"""What holds for every classical method: tiles, masks, units, errors, and that the MSI's detail arrives."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor

from hsfuse.classical import CNMF, GSA, MTFGLP, Bayes, HySure, SubspaceLinear
from hsfuse.errors import SceneError
from hsfuse.imaging import ImagingModel, SpectralResponse, upsample
from hsfuse.subspace.patch import PairPatch

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from conftest import KnownPair

METHODS: list[Any] = [GSA, MTFGLP, SubspaceLinear, CNMF, HySure, Bayes]
every_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)


def error(fused: Tensor, truth: Tensor) -> float:
    """Root mean square of the difference."""
    return float((fused - truth).square().mean().sqrt())


@every_method
@pytest.mark.parametrize("ratio", [2, 3, 5])
def test_beats_interpolation_by_far(method: Any, ratio: int, known_pair: Callable[..., KnownPair]) -> None:
    pair = known_pair(4, ratio=ratio, edge=16, noise=0.003)
    fused = method.fit([pair.patch], pair.model)(pair.hsi, pair.msi)
    assert (fused.shape, fused.dtype) == (pair.truth.shape, torch.float32)
    assert error(fused, pair.truth) < 0.6 * error(upsample(pair.hsi, ratio), pair.truth)


@every_method
def test_a_tile_is_the_whole_scene_beyond_its_margin(method: Any, mixed_pair: KnownPair) -> None:
    fitted = method.fit([mixed_pair.patch], mixed_pair.model)
    whole = fitted(mixed_pair.hsi, mixed_pair.msi)[..., 15:75]
    tile = fitted(mixed_pair.hsi[..., 5:25], mixed_pair.msi[..., 15:75])

    def difference(margin: int) -> float:
        apart = (tile - whole)[..., 3 * margin : 60 - 3 * margin]
        # An iteration that stops by a norm over the tile leaves single pixels apart: see test_bayes.
        return float(apart.square().mean().sqrt() if method is Bayes else apart.abs().max())

    scale = float(whole.max())
    assert difference(fitted.margin) < (1e-4 if method in (HySure, Bayes) else 1e-5) * scale
    assert difference(fitted.margin - 1) > 1e-5 * scale or method in (HySure, Bayes)  # no wider than it has to be
    assert difference(0) > 1e-3 * scale  # and the test would see it


@every_method
def test_what_is_masked_enters_no_statistic(method: Any, mixed_pair: KnownPair) -> None:
    hsi, msi = mixed_pair.hsi.clone(), mixed_pair.msi.clone()
    hsi_valid, msi_valid = (torch.ones(image.shape[-2:], dtype=torch.bool) for image in (hsi, msi))
    hsi_valid[:7], msi_valid[:, :20] = False, False
    expected = method.fit([PairPatch(hsi, hsi_valid, msi, msi_valid)], mixed_pair.model)
    hsi[:, :6], msi[:, :, :18] = 50.0, -30.0
    found = method.fit([PairPatch(hsi, hsi_valid, msi, msi_valid)], mixed_pair.model)
    tile = mixed_pair.hsi[:, 10:, 10:], mixed_pair.msi[:, 30:, 30:]
    assert error(found(*tile), expected(*tile)) < 1e-3 * float(mixed_pair.truth.std())


@every_method
def test_the_msi_may_be_in_units_of_its_own(method: Any, mixed_pair: KnownPair) -> None:
    plain = method.fit([mixed_pair.patch], mixed_pair.model)(mixed_pair.hsi, mixed_pair.msi)
    counts = 3000 * mixed_pair.msi + 200
    patch = PairPatch.all_valid(mixed_pair.hsi, counts)
    fused = method.fit([patch], mixed_pair.model)(mixed_pair.hsi, counts)
    assert error(fused, plain) < 0.02 * float(mixed_pair.truth.std())


@every_method
def test_the_pair_may_be_in_counts(method: Any, mixed_pair: KnownPair) -> None:
    plain = method.fit([mixed_pair.patch], mixed_pair.model)(mixed_pair.hsi, mixed_pair.msi)
    hsi, msi = 10_000 * mixed_pair.hsi, 10_000 * mixed_pair.msi
    fused = method.fit([PairPatch.all_valid(hsi, msi)], mixed_pair.model)(hsi, msi)
    assert error(fused / 10_000, plain) < 2e-3 * float(mixed_pair.truth.std())


@every_method
def test_the_same_input_gives_the_same_bits(method: Any, mixed_pair: KnownPair) -> None:
    first, second = (method.fit([mixed_pair.patch], mixed_pair.model)(mixed_pair.hsi, mixed_pair.msi) for _ in range(2))
    assert torch.equal(first, second)


@every_method
def test_patches_of_a_scene_serve_as_well_as_the_whole(method: Any, mixed_pair: KnownPair) -> None:
    patches = [
        PairPatch.all_valid(
            mixed_pair.hsi[:, row : row + 15, column : column + 15],
            mixed_pair.msi[:, 3 * row : 3 * row + 45, 3 * column : 3 * column + 45],
        )
        for row in (0, 15)
        for column in (0, 15)
    ]
    whole = method.fit([mixed_pair.patch], mixed_pair.model)(mixed_pair.hsi, mixed_pair.msi)
    fused = method.fit(patches, mixed_pair.model)(mixed_pair.hsi, mixed_pair.msi)
    assert error(fused, mixed_pair.truth) < 1.1 * error(whole, mixed_pair.truth)


@every_method
def test_too_few_pixels_are_refused(method: Any, mixed_pair: KnownPair) -> None:
    patch = mixed_pair.patch
    nowhere = torch.zeros_like(patch.hsi_valid)
    nowhere[0, :5] = True
    with pytest.raises(SceneError, match="5 valid pixels"):
        method.fit([PairPatch(patch.hsi, nowhere, patch.msi, patch.msi_valid)], mixed_pair.model)


def test_cnmf_refuses_a_constant_msi(mixed_pair: KnownPair) -> None:
    patch = PairPatch.all_valid(mixed_pair.hsi, torch.full_like(mixed_pair.msi, 0.25))
    with pytest.raises(SceneError, match="constant"):
        CNMF.fit([patch], mixed_pair.model)


@pytest.mark.parametrize("method", [GSA, MTFGLP, HySure, SubspaceLinear, Bayes])
def test_a_constant_scene_stays_constant(method: Any, mixed_pair: KnownPair) -> None:
    hsi, msi = torch.full_like(mixed_pair.hsi, 0.3), torch.full_like(mixed_pair.msi, 0.3)
    fused = method.fit([PairPatch.all_valid(hsi, msi)], mixed_pair.model)(hsi, msi)
    torch.testing.assert_close(fused, torch.full_like(fused, 0.3), rtol=0, atol=1e-6)


@every_method
def test_a_constant_msi_band_and_hsi_band_do_no_harm(method: Any, mixed_pair: KnownPair) -> None:
    hsi, msi = mixed_pair.hsi.clone(), mixed_pair.msi.clone()
    hsi[3], msi[1] = 0.0, 0.5
    fused = method.fit([PairPatch.all_valid(hsi, msi)], mixed_pair.model)(hsi, msi)
    assert torch.isfinite(fused).all()
    assert fused[3].abs().max() < 0.02


@pytest.fixture(scope="module")
def protocol() -> ModuleType:
    """The benchmark script."""
    path = Path(__file__).parents[2] / "examples" / "benchmarks" / "protocol.py"
    spec = importlib.util.spec_from_file_location("protocol", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("name", "clean", "noisy"),
    [
        ("cnmf", 37.14, 33.91),  # public ports
        ("hysure", 38.66, 31.44),
        ("gsa", 41.5, 28.0),  # ours, so that nothing is lost unseen
        ("mtf-glp", 41.5, 28.0),
        ("mtf-glp-subspace", 42.5, 35.5),
    ],
)
def test_is_not_behind_on_the_protocol(protocol: ModuleType, name: str, clean: float, noisy: float) -> None:
    for pair, least in ((protocol.scene(None, None), clean), (protocol.scene(30, 35), noisy)):
        psnr = float(protocol.scores(pair, protocol.fitted(name, pair)).split(" / ")[0])
        assert psnr > least - 0.3


@every_method
def test_the_order_of_the_hsi_bands_does_not_matter(method: Any, mixed_pair: KnownPair) -> None:
    order = torch.randperm(len(mixed_pair.hsi), generator=torch.Generator().manual_seed(2))
    matrix = mixed_pair.model.srf.matrix[:, order.numpy()]
    model = ImagingModel(SpectralResponse(matrix, mixed_pair.model.srf.msi_bands), mixed_pair.model.psf)
    plain = method.fit([mixed_pair.patch], mixed_pair.model)(mixed_pair.hsi, mixed_pair.msi)
    shuffled = PairPatch.all_valid(mixed_pair.hsi[order], mixed_pair.msi)
    fused = method.fit([shuffled], model)(shuffled.hsi, shuffled.msi)
    assert error(fused, plain[order]) < 5e-3 * float(mixed_pair.truth.std())


def test_every_method_ends_after_a_caller_has_set_the_number_of_threads() -> None:
    script = """
import sys, torch
sys.path[:0] = sys.argv[1:]
torch.set_num_threads(2)
from conftest import make_pair
from hsfuse.classical import CNMF, GSA, MTFGLP, Bayes, HySure, SubspaceLinear
pair = make_pair(6, bands=198, edge=14, noise=0.004)  # fewer pixels than bands: noise from neighbouring bands
for method in (GSA, MTFGLP, SubspaceLinear, HySure, Bayes):
    assert torch.isfinite(method.fit([pair.patch], pair.model)(pair.hsi, pair.msi)).all()
fitted = CNMF.fit([pair.patch], pair.model, iterations=5)
assert torch.isfinite(fitted(pair.hsi, pair.msi)).all()
"""
    here = Path(__file__).parent
    subprocess.run([sys.executable, "-c", script, str(here), str(here.parents[1])], check=True, timeout=120)


@every_method
def test_the_callers_random_state_is_untouched(method: Any, mixed_pair: KnownPair) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    method.fit([mixed_pair.patch], mixed_pair.model)
    assert torch.equal(torch.get_rng_state(), before)


GARBAGE: list[Any] = [
    ("hsi", lambda image: -9999.0),
    ("hsi", lambda image: 0.0),
    ("hsi", lambda image: 5 * torch.rand(len(image), 1, generator=torch.Generator().manual_seed(1))),
    ("msi", lambda image: -9999.0),
    ("msi", lambda image: 0.0),
    ("msi", lambda image: 65.535),
]


@every_method
@pytest.mark.parametrize(("where", "value"), GARBAGE)
def test_garbage_that_no_mask_knows_of_costs_little_far_away(
    method: Any, where: str, value: Callable[[Tensor], Tensor | float], mixed_pair: KnownPair
) -> None:
    images = {"hsi": mixed_pair.hsi.clone(), "msi": mixed_pair.msi.clone()}
    image = images[where].flatten(1)  # a view: 1 % of its pixels, all in the left third
    edge = images[where].shape[-1]
    left = torch.arange(image.shape[1])[torch.arange(image.shape[1]) % edge < edge // 3]
    chosen = left[torch.randperm(len(left), generator=torch.Generator().manual_seed(3))[: image.shape[1] // 100]]
    image[:, chosen] = value(image)
    clean = method.fit([mixed_pair.patch], mixed_pair.model)(mixed_pair.hsi, mixed_pair.msi)
    patch = PairPatch.all_valid(images["hsi"], images["msi"])
    found = method.fit([patch], mixed_pair.model)(patch.hsi, patch.msi)
    far = (..., slice(60, None))
    assert error(found[far], mixed_pair.truth[far]) < 1.2 * error(clean[far], mixed_pair.truth[far])
