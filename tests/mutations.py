"""Breaks the code on purpose, one place after another, and shows whether the tests notice.

    python tests/mutations.py [NAME-PART ...]

A script, no part of the suite: every mutation is made in a copy of the checkout, in which the tests that are closest
to it run until the first failure. A mutation that survives is behaviour that nothing guards. Prints a table; exit
status 1 if any survived.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("hsfuse", "weights", "examples", "tests", ".github", "pyproject.toml", "README.md", "CHANGELOG.md")


@dataclass(frozen=True)
class Mutation:
    """One place to break."""

    name: str
    """What is wrong afterwards."""

    file: str
    """Below `hsfuse/`."""

    old: str
    """Stands in the file once."""

    new: str
    """What takes its place."""

    tests: str
    """Files or folders below `tests/`, those that should notice."""


MUTATIONS = (
    Mutation(
        "trust is always 1", "fusion/trust.py",
        "return trust if trust >= LEAST_TRUST else 0.0", "return 1.0", "fusion/test_trust.py",
    ),
    Mutation(
        "trust's numerator is halved", "fusion/trust.py",
        "min(along / energy, 1.0)", "min(along / energy / 2, 1.0)", "fusion/test_trust.py",
    ),
    Mutation(
        "noise is not restored for trust", "fusion/trust.py",
        "degraded(block, imaging, LostNoise.of(block, registered, seed))", "degraded(block, imaging, None)",
        "fusion/test_trust.py",
    ),
    Mutation(
        "noise is not restored one Wald level down", "pairs/wald_level.py",
        "    if noise is not None:\n        noise.add(", "    if noise is None:\n        noise.add(", "pairs",
    ),
    Mutation(
        "the Wiener weight is 1", "subspace/prediction.py",
        "keep = (1 - subspace.noise.double() ** 2 / residual.clamp_min(1e-30)).clamp(0, 1)",
        "keep = torch.ones_like(residual)", "subspace",
    ),
    Mutation(
        "no warning for ratios that weights were not trained at", "fusion/methods.py",
        "if self.weights is None or ratio in self.weights.card.ratios:", "if True:", "fusion commands/test_fuse.py",
    ),
    Mutation(
        "the pair's shift has the wrong sign when it is corrected", "pairs/coregistration.py",
        "scenes.moved(self.x, self.y)", "scenes.moved(-self.x, -self.y)", "pairs/test_coregistration.py",
    ),
    Mutation(
        "the kept sample of a small scene is cut in the wrong place", "scenes/pair_block.py",
        "fine = window.scaled(self.msi_valid.shape[0] // height)",
        "fine = window.scaled(self.msi_valid.shape[0] // width)",
        "pairs scenes/test_pair.py",
    ),
    Mutation(
        "classical methods follow the precision asked for", "fusion/method.py",
        "return compute.on_cpu()", "return compute", "fusion",
    ),
    Mutation(
        "the seed does not reach the restored noise", "pairs/wald_level.py",
        "default_rng((image, row, self.seed))", "default_rng((image, row))", "pairs",
    ),
    Mutation(
        "the HSI one level down is degraded with the shift", "imaging/wald.py",
        "registered = ImagingModel(model.srf, model.psf)\n", "registered = model\n", "imaging/test_wald.py pairs",
    ),
    Mutation(
        "the sampling phase of upsampling is another one", "imaging/psf.py",
        "mode=mode, align_corners=False)", "mode=mode, align_corners=True)", "imaging classical subspace",
    ),
    Mutation(
        "B's adjoint forgets the replicated rim", "imaging/psf.py",
        "inner.narrow(axis, 0, 1).add_(before.sum(axis, keepdim=True))", "pass", "imaging",
    ),
    Mutation(
        "blending weights of a flank are not complementary", "fusion/tiles.py",
        "weights[:shared] = np.float32(1) - self._falling(shared, ratio)",
        "weights[:shared] = self._falling(shared, ratio)[::-1] * np.float32(0.99)", "fusion/test_tiles.py",
    ),
    Mutation(
        "rows leave the blender too early", "fusion/tiles.py",
        "return following * self.ratio", "return min(following + 1, self.rows.length) * self.ratio",
        "fusion/test_blend.py fusion/test_engine.py",
    ),
    Mutation(
        "the MSI's hole makes the whole HSI pixel invalid", "scenes/pair_block.py",
        "return self.msi_valid & np.kron(",
        "return np.kron(self.msi_valid[::ratio, ::ratio], np.ones((ratio, ratio), bool)) & np.kron(",
        "imaging/test_holes.py fusion commands/test_fuse.py",
    ),
    Mutation(
        "what is held back is trained on too", "training/split.py",
        "PixelWindow(0, 0, trained, area.height), PixelWindow(trained + gap,",
        "PixelWindow(0, 0, area.width, area.height), PixelWindow(trained + gap,", "pairs training/test_tasks.py",
    ),
    Mutation(
        "the weights of the last step are kept, not the best", "training/loop.py",
        "best = not self.history or score > self.best_score", "best = True", "training/test_loop.py",
    ),
    Mutation(
        "adapted weights are used though they are worse", "training/adaptation.py",
        "kept = after.score > before.score", "kept = True", "training/test_adaptation.py",
    ),
    Mutation(
        "a resumed training ignores another precision", "training/request.py",
        '"precision": self.compute.precision,', '"precision": "fp32",', "commands/test_train_reduced.py",
    ),
    Mutation(
        "SAM is a mean over bands' angles in radians", "metrics/full_reference.py",
        "np.degrees(", "np.asarray(", "metrics/test_full_reference.py",
    ),
)  # fmt: skip


def main(parts: list[str]) -> int:
    """Run those whose names hold one of the parts, or all."""
    chosen = [one for one in MUTATIONS if not parts or any(part in one.name for part in parts)]
    survived = 0
    print("| mutation | file | caught | s |\n| --- | --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory() as text:
        copy = Path(text)
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy / name)
        for one in chosen:
            started = time.monotonic()
            caught = _caught(one, copy)
            survived += not caught
            seconds = time.monotonic() - started
            print(f"| {one.name} | {one.file} | {'yes' if caught else '**no**'} | {seconds:.0f} |", flush=True)
    print(f"\n{len(chosen) - survived} of {len(chosen)} caught")
    return 1 if survived else 0


def _caught(one: Mutation, copy: Path) -> bool:
    path = copy / "hsfuse" / one.file
    whole = path.read_text(encoding="utf-8")
    if whole.count(one.old) != 1:
        raise SystemExit(f"{one.name}: its text stands {whole.count(one.old)} times in {one.file}, not once")
    path.write_text(whole.replace(one.old, one.new), encoding="utf-8")
    try:
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-n0", "-p", "no:cacheprovider"]
        command += [f"tests/{name}" for name in one.tests.split()]
        environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    finally:
        path.write_text(whole, encoding="utf-8")
    if done.returncode not in {0, 1}:
        raise SystemExit(f"{one.name}: the tests could not be run\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.returncode == 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
