"""Stacking: weights on the simplex, fitted one Wald level down, and members that may not serve a scene."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hsfuse.errors import SceneError
from hsfuse.fusion.method import FittedClassical
from hsfuse.fusion.methods import choose_method
from hsfuse.fusion.stack import StackMethod, simplex_weights
from hsfuse.subspace.patch import PairPatch


@dataclass(frozen=True)
class Member:
    """Fuses to its own number everywhere, or refuses."""

    value: float
    refuses: bool = False

    def suited(self, compute):
        return compute

    def fit(self, patches, imaging, *, compute=None, seed=0):
        if self.refuses:
            raise SceneError("not this scene")
        return FittedClassical(Rule(self.value))


@dataclass(frozen=True)
class Rule:
    value: float
    margin: int = 2

    def __call__(self, hsi, msi):
        return torch.full((len(hsi), *msi.shape[-2:]), self.value)


@given(st.integers(0, 10_000), st.integers(1, 5))
def test_weights_lie_on_the_simplex_and_nothing_near_is_better(seed, count):
    generator = np.random.default_rng(seed)
    errors = generator.normal(size=(count, 40)) * generator.uniform(0.2, 3, (count, 1))
    products = errors @ errors.T
    weights = simplex_weights(products)
    assert weights.sum() == pytest.approx(1)
    assert (weights >= 0).all()
    drawn = products + 0.2 * np.trace(products) / count * np.eye(count)
    cost = weights @ drawn @ weights
    for _ in range(20):
        other = generator.dirichlet(np.ones(count))
        assert cost <= other @ drawn @ other + 1e-9 * abs(cost)


def test_equal_members_count_equally_and_a_bad_one_little():
    alike = np.eye(3)
    assert simplex_weights(alike) == pytest.approx(np.full(3, 1 / 3))
    assert simplex_weights(np.diag([1.0, 1.0, 1000.0]))[2] < 0.4 * simplex_weights(np.diag([1.0, 1.0, 1.0]))[2]


def test_the_stack_is_nearer_to_the_truth_than_its_members(made_pair):
    source, model = made_pair(rows=40, columns=40)
    patch = PairPatch.of(source.whole)
    fitted = choose_method("stack").method.fit([patch], model)
    names = [member.name for member in fitted.members]
    assert set(names) <= {"bayes", "hysure", "cnmf", "mgdunlss"}
    assert sum(member.weight for member in fitted.members) == pytest.approx(1)
    assert fitted.margin == max(member.method.margin for member in fitted.members)
    assert all(f"{member.name} {member.weight:.2f}" in fitted.facts["STACK"] for member in fitted.members)
    fused = fitted(patch.hsi, patch.msi)
    whole = sum(member.weight * member.method(patch.hsi, patch.msi) for member in fitted.members)
    torch.testing.assert_close(fused, whole)


def test_members_that_cannot_serve_a_scene_are_left_out(made_pair):
    source, model = made_pair(rows=40, columns=40)
    patches = [PairPatch.of(source.whole)]
    fitted = StackMethod({"one": Member(1.0), "none": Member(0.0, refuses=True)}).fit(patches, model)
    assert [(member.name, member.weight) for member in fitted.members] == [("one", 1.0)]
    with pytest.raises(SceneError, match="not this scene"):
        StackMethod({"none": Member(0.0, refuses=True)}).fit(patches, model)


def test_a_scene_too_small_to_tell_is_stacked_evenly(made_pair):
    source, model = made_pair(rows=8, columns=8)
    fitted = StackMethod({"one": Member(1.0), "two": Member(2.0)}).fit([PairPatch.of(source.whole)], model)
    assert [member.weight for member in fitted.members] == [0.5, 0.5]
