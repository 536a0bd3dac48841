"""The numba backend against the float64 reference."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hsfuse.scan import selective_scan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    Make = Callable[..., dict[str, Tensor]]
    WithGradients = Callable[..., dict[str, Tensor]]
    Error = Callable[[Tensor, Tensor], float]
    Choose = Callable[[str], None]

TOLERANCE = 1e-5


@pytest.fixture(autouse=True)
def numba_backend(scan_with: Choose) -> None:
    scan_with("numba")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_output_and_gradients_on_any_shape(
    data: st.DataObject, operands: Make, with_gradients: WithGradients, error: Error
) -> None:
    groups = data.draw(st.sampled_from([1, 1, 2, 3]), "groups")
    o = operands(
        data.draw(st.integers(1, 3), "batch"),
        groups * data.draw(st.integers(1, 40 // groups), "channels per group"),
        data.draw(st.integers(1, 300), "length"),
        data.draw(st.sampled_from([1, 2, 3, 5, 16, 31, 64, 256]), "states"),
        groups,
        constant_B=data.draw(st.booleans(), "constant B"),
        constant_C=data.draw(st.booleans(), "constant C"),
        seed=data.draw(st.integers(0, 9), "seed"),
    )
    softplus = data.draw(st.booleans(), "softplus")
    if not softplus:
        o["delta"] = o["delta"].abs() * 0.3
        o["delta_bias"] = o["delta_bias"].abs()
    result = with_gradients("numba", o, torch.float32, delta_softplus=softplus)
    truth = with_gradients("reference", o, torch.float64, delta_softplus=softplus)
    errors = {name: error(result[name], truth[name]) for name in truth}
    # The gradient of delta_bias sums that of delta: where the terms cancel, float32 errs by a part of the terms.
    off = (result["delta_bias"].double() - truth["delta_bias"]).abs().max()
    errors["delta_bias"] = float(off / truth["delta"].abs().sum(dim=(0, 2)).max().clamp_min(1e-30))
    assert max(errors.values()) < TOLERANCE, errors


@pytest.mark.parametrize(("length", "states"), [(70_000, 1), (4_097, 256), (16_000, 5)])
def test_long_sequences(length: int, states: int, operands: Make, error: Error, scan_with: Choose) -> None:
    o = operands(1, 3, length, states, delta_scale=0.3)
    y, last = selective_scan(**o, delta_softplus=True, return_last_state=True)
    scan_with("reference")
    doubled = {name: operand.double() for name, operand in o.items()}
    true_y, true_last = selective_scan(**doubled, delta_softplus=True, return_last_state=True)
    assert error(y, true_y) < TOLERANCE
    assert error(last, true_last) < TOLERANCE


def test_a_memory_longer_than_a_float32_decay_can_hold(error: Error) -> None:
    """exp(-3e-6) rounded to float32 is 1 - 2.98e-6: 200,000 of those would be 0.4 % off."""
    length = 200_000
    impulse = torch.zeros(1, 2, length)
    impulse[..., 0] = 1 / 3e-6
    ones = torch.ones(1, 1, length)
    y = selective_scan(impulse, torch.full_like(impulse, 3e-6), -torch.ones(2, 1), ones, ones)
    steps = torch.arange(length, dtype=torch.float64) * float(torch.tensor(3e-6))
    assert error(y, torch.exp(-steps).expand(1, 2, length)) < 1e-4


@pytest.mark.parametrize("delta", [1e-30, 1e-4, 30.0, 1e4, 1e30])
def test_extreme_steps_agree_with_the_reference(
    delta: float, operands: Make, with_gradients: WithGradients, error: Error
) -> None:
    o = operands(1, 17, 130, 5)
    o["delta"] = torch.full_like(o["delta"], delta)
    o["delta_bias"] = torch.zeros_like(o["delta_bias"])
    o["u"] = o["u"] / max(delta, 1.0)
    result = with_gradients("numba", o, torch.float32)
    truth = with_gradients("reference", o, torch.float64)
    for name in ("y", "last", "u", "B", "C", "z", "D"):
        assert torch.isfinite(result[name]).all(), name
        assert error(result[name], truth[name]) < TOLERANCE, name


def test_growing_states_overflow_where_the_reference_does(operands: Make, scan_with: Choose) -> None:
    o = {**operands(1, 16, 60, 4), "delta_bias": None}
    o["delta"] = o["delta"].abs()
    o["A"] = torch.full_like(o["A"], 12.0)
    y = selective_scan(**o)
    scan_with("reference")
    expected = selective_scan(**o)
    finite = torch.isfinite(expected)
    assert not finite.all()
    first = finite.long().cumprod(-1).bool()  # before anything overflowed
    torch.testing.assert_close(y[first], expected[first], rtol=1e-3, atol=1e-3)
    assert not torch.isfinite(y[~first]).all()


def test_nan_stays_in_its_channel_and_does_not_reach_back(operands: Make) -> None:
    o = operands(1, 20, 300, 4)
    clean = selective_scan(**o, delta_softplus=True)
    o["delta"][0, 3, 150] = float("nan")
    dirty = selective_scan(**o, delta_softplus=True)
    others = [d for d in range(20) if d != 3]
    assert torch.equal(dirty[:, others], clean[:, others])
    assert torch.equal(dirty[:, 3, :150], clean[:, 3, :150])
    assert dirty[:, 3, 150:].isnan().all()


def test_strides_do_not_matter(operands: Make, with_gradients: WithGradients) -> None:
    o = operands(2, 21, 150, 6, delta_scale=0.5)
    dense = with_gradients("numba", o, torch.float32, delta_softplus=True)
    wide = {
        **{k: o[k].transpose(1, 2).contiguous().transpose(1, 2) for k in ("u", "z")},
        "delta": o["delta"].repeat(1, 1, 2)[..., :150],
        "A": o["A"].t().contiguous().t(),
        **{k: o[k].permute(3, 0, 2, 1).contiguous().permute(1, 3, 2, 0) for k in ("B", "C")},
        **{k: o[k].repeat_interleave(3)[::3] for k in ("D", "delta_bias")},
    }
    assert not any(tensor.is_contiguous() for tensor in wide.values())
    for name, value in with_gradients("numba", {k: wide[k] for k in o}, torch.float32, delta_softplus=True).items():
        torch.testing.assert_close(value, dense[name], rtol=1e-6, atol=1e-6, msg=name)


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4), (2, 3, 0)])
def test_empty_inputs_give_empty_outputs(shape: tuple[int, ...], operands: Make, with_gradients: WithGradients) -> None:
    result = with_gradients("numba", operands(*shape, 2), torch.float32, delta_softplus=True)
    assert result["y"].shape == shape
    assert result["A"].shape == (shape[1], 2)
    assert not result["A"].any()


@pytest.fixture
def restored_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("restored_threads")
def test_results_do_not_depend_on_the_number_of_threads(operands: Make, with_gradients: WithGradients) -> None:
    o = operands(2, 50, 700, 7)
    o["z"] = o["z"].clamp_min(30)  # torch's own SiLU differs in the last bit with the number of threads
    results = []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        results.append(with_gradients("numba", o, torch.float32, delta_softplus=True))
    for name in ("y", "last", "u", "delta", "A", "B", "C"):
        assert torch.equal(results[0][name], results[1][name]), name
        assert torch.equal(results[0][name], results[2][name]), name


def test_several_callers_at_once(operands: Make) -> None:
    cases = [operands(1, 30, 200, 4, seed=seed) for seed in range(8)]
    alone = [selective_scan(**case, delta_softplus=True) for case in cases]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda case: selective_scan(**case, delta_softplus=True), cases * 3))
    for i, y in enumerate(together):
        assert torch.equal(y, alone[i % 8])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_in_and_out(dtype: torch.dtype, operands: Make, error: Error) -> None:
    o = {name: operand.to(dtype) for name, operand in operands(1, 16, 90, 8).items()}
    y = selective_scan(**o, delta_softplus=True)
    exact = selective_scan(**{name: operand.float() for name, operand in o.items()}, delta_softplus=True)
    assert y.dtype == dtype
    assert torch.equal(y, exact.to(dtype))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
def test_memory_stays_far_below_length_times_channels_times_states() -> None:
    """Backward too: a process of its own, so that nothing else counts."""
    code = (
        "import re, torch\n"
        "from pathlib import Path\n"
        "from hsfuse.scan import selective_scan\n"
        "def scan(length):\n"
        "    u, delta = (torch.rand(1, 64, length, requires_grad=True) for _ in range(2))\n"
        "    B, C = (torch.rand(1, 64, length, requires_grad=True) for _ in range(2))\n"
        "    selective_scan(u, delta, -torch.ones(64, 64), B, C).sum().backward()\n"
        "    return int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]) / 1024\n"
        "before = scan(64)\n"
        "print(scan(32768) - before)\n"
    )
    megabytes = float(_python(code))
    assert megabytes < 120  # operands and gradients 70; the states of all steps would be 512


def test_compiled_code_is_kept_between_runs(operands: Make) -> None:
    selective_scan(**operands())  # compiled by now, by this process or an earlier one
    code = (
        "import torch\n"
        "from hsfuse.scan import selective_scan\n"
        "from hsfuse.scan.cpu.forward import scan_forward\n"
        "selective_scan(*(torch.ones(shape) for shape in [(1, 1, 3), (1, 1, 3), (1, 1), (1, 1, 3), (1, 1, 3)]))\n"
        "print(sum(scan_forward.stats.cache_hits.values()), len(scan_forward.stats.cache_misses))\n"
    )
    assert _python(code).split() == ["1", "0"]


NOWHERE = (
    "from numba.core.caching import CacheImpl\n"
    "for locator in CacheImpl._locator_classes:\n"
    "    if 'UserProvided' not in locator.__name__ or {nowhere}:\n"
    "        locator.from_function = classmethod(lambda *_: None)\n"
    "from small import one, two\n"
    "print(one(), two())\n"
)
"""A read-only installation and home: numba then finds no place for its cache (root can write anywhere)."""


@pytest.fixture
def small_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of two kernels, and an empty folder for temporary files."""
    source = "from hsfuse.scan.cpu.elementary import kernel\none = kernel(lambda: 1)\ntwo = kernel(lambda: 2)\n"
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "small.py").write_text(source)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'code'}:{os.environ.get('PYTHONPATH', '')}")
    return tmp_path / "temporary"


@pytest.mark.usefixtures("small_kernels")
def test_where_nothing_can_be_kept_the_scan_is_compiled_for_the_process() -> None:
    assert _python(NOWHERE.format(nowhere=True)).split() == ["1", "2"]


@pytest.mark.parametrize("taken", [False, True])
def test_where_numba_can_write_nowhere_a_private_folder_serves(small_kernels: Path, *, taken: bool) -> None:
    """It is said once; a folder of that name that others may write to is left alone."""
    known = small_kernels / f"hsfuse-{os.getuid()}"
    if taken:
        known.mkdir()
        known.chmod(0o777)
    code = NOWHERE.format(nowhere=False)
    ended = subprocess.run(
        [sys.executable, "-c", code], env=_environment(), capture_output=True, text=True, check=False
    )
    assert ended.stdout.split() == ["1", "2"], ended.stderr
    assert ended.stderr.count("NUMBA_CACHE_DIR") == 1
    assert list(small_kernels.iterdir()) == [known]
    assert len(list(known.rglob("*.nbi"))) == (0 if taken else 2)
    assert known.stat().st_mode & 0o777 == (0o777 if taken else 0o700)


def _python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], env=_environment(), check=True, capture_output=True, text=True
    ).stdout


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{Path(__file__).parents[2]}:{os.environ.get('PYTHONPATH', '')}"}
