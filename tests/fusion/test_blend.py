"""Blending puts tiles of one image together to that image, whatever the plan, and lets rows go in time."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hsfuse.fusion.blend import RowBlender
from hsfuse.fusion.tiles import TilePlan


def blended(plan, image, valid, align=1):
    """Cut `image` by the plan and blend it again; also the largest number of rows held."""
    blender = RowBlender(plan, len(image), align=align)
    rows, masks, starts = [], [], []
    tiles = list(plan)
    for number, tile in enumerate(tiles):
        fine = tile.window.scaled(plan.ratio)
        blender.add(tile, image[:, fine.rows, fine.columns].copy(), valid[fine.rows, fine.columns])
        if number + 1 == len(tiles) or tiles[number + 1].row != tile.row:
            for strip in blender.take(tile.row):
                starts.append(strip.first)
                rows.append(strip.values.copy())
                masks.append(strip.valid.copy())
    return np.concatenate(rows, axis=1), np.concatenate(masks), starts


@st.composite
def plans(draw):
    ratio = draw(st.integers(2, 4))
    overlap = draw(st.integers(0, 6))
    return TilePlan.make(
        draw(st.integers(1, 60)),
        draw(st.integers(1, 60)),
        ratio,
        tile=draw(st.integers(max(3 * overlap, 4), 30)),
        overlap=overlap,
        margin=draw(st.integers(0, overlap // 2)),
    )


@given(plans(), st.integers(1, 40), st.integers(0, 2**31))
@settings(deadline=None, max_examples=60)
def test_tiles_of_an_image_blend_to_that_image(plan, align, seed):
    generator = np.random.default_rng(seed)
    shape = plan.rows.length * plan.ratio, plan.columns.length * plan.ratio
    image = generator.normal(size=(2, *shape)).astype(np.float32)
    valid = generator.random(shape) > 0.2
    result, mask, starts = blended(plan, image, valid, align)
    np.testing.assert_allclose(result, image, atol=1e-6)
    np.testing.assert_array_equal(mask, valid)
    assert all(start % align == 0 for start in starts)


def test_a_constant_and_a_gradient_keep_no_trace_of_the_tiles():
    plan = TilePlan.make(64, 64, 3, tile=24, overlap=8, margin=2)
    ramp = np.linspace(0, 1, 192, dtype=np.float32)
    image = np.stack([np.full((192, 192), 0.3, np.float32), ramp[:, None] + ramp[None, :]])
    result, _, _ = blended(plan, image, np.ones((192, 192), dtype=bool))
    assert np.abs(result - image).max() <= 2.4e-7  # an ulp of the largest value


def test_only_a_row_of_tiles_is_held():
    plan = TilePlan.make(40, 400, 3, tile=20, overlap=6, margin=2)
    blender, most = RowBlender(plan, 5, align=16), 0
    for tile in plan:
        shape = tile.window.height * 3, tile.window.width * 3
        blender.add(tile, np.ones((5, *shape), np.float32), np.ones(shape, dtype=bool))
        most = max(most, sum(strip.end - strip.first for strip in blender._strips))
        for _ in blender.take(tile.row) if tile.window.column == plan.columns.starts[-1] else ():
            pass
    assert most <= 20 * 3 + 2 * 15
