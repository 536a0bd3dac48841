"""Bundled weights compute what they computed when they were bundled, on any machine."""

import runpy
from pathlib import Path

import pytest
import torch

from hsfuse.models.weights import bundled_weights

golden = runpy.run_path(str(Path(__file__).parent / "golden" / "make.py"))


@pytest.mark.parametrize("file", bundled_weights(), ids=lambda file: file.name)
def test_a_golden_pair_is_fused_as_ever(file):
    kept = golden["golden"](file.name)
    again = golden["fused"](file.name, file.card.model, kept)
    spread = float(kept["fused"].std())
    torch.testing.assert_close(again, kept["fused"], rtol=0, atol=1e-3 * spread)


def test_the_golden_pair_depends_on_the_weights():
    """A file that computes the linear estimate, or anything else than its network, would not pass."""
    for file in bundled_weights():
        kept = golden["golden"](file.name)
        linear = golden["fused"](None, "mtf-glp-subspace", kept)
        assert float((linear - kept["fused"]).std()) > 1e-2 * float(kept["fused"].std())
