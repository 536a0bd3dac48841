"""Arguments of the scan, and the choice of a backend."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from hsfuse.errors import RequestError
from hsfuse.scan import BACKENDS, available_backends, explain_backend, selective_scan
from hsfuse.scan.backends import _choose
from hsfuse.scan.probe import trouble_with
from hsfuse.scan.reference import scan_reference

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from hsfuse.scan.arguments import ScanArguments

    Make = Callable[..., dict[str, Tensor]]
    Choose = Callable[[str], None]


def test_the_cpu_scans_with_numba_and_says_why() -> None:
    choice = explain_backend("cpu")
    assert choice.name == "numba"
    assert "CUDA" in choice.refused["mamba_ssm"]


def test_every_backend_says_whether_it_works() -> None:
    available = available_backends("cpu")
    assert tuple(available) == BACKENDS
    assert available["reference"] == ""


def test_a_backend_that_fails_or_errs_when_tried_is_refused() -> None:
    cpu = torch.device("cpu")
    assert trouble_with(scan_reference, cpu) == ""

    def broken(arguments: ScanArguments) -> tuple[Tensor, Tensor]:
        raise RuntimeError(f"no compiler\nfor {arguments.u.device}")

    def wrong(arguments: ScanArguments) -> tuple[Tensor, Tensor]:
        y, last = scan_reference(arguments)
        return y, last * 1.01

    def full(arguments: ScanArguments) -> tuple[Tensor, Tensor]:
        raise torch.OutOfMemoryError(f"{arguments.u.device} is full")

    assert trouble_with(broken, cpu) == "it fails when tried (RuntimeError: no compiler for cpu)"
    assert "1.368 is right" in trouble_with(wrong, cpu).replace("]", "")
    with pytest.raises(torch.OutOfMemoryError):  # which tells nothing about the backend
        trouble_with(full, cpu)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_card_without_a_fast_scan_is_told_so(caplog: pytest.LogCaptureFixture, scan_with: Choose) -> None:
    _choose.cache_clear()
    with caplog.at_level(logging.WARNING, "hsfuse.scan"):
        assert explain_backend("cuda").name == "reference"
    assert "slow, triton: " in caplog.text
    assert "no" in available_backends("cuda")["triton"]
    with caplog.at_level(logging.WARNING, "hsfuse.scan"):
        caplog.clear()
        scan_with("reference")
        explain_backend("cuda")
    assert not caplog.messages  # asked for


@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_the_gradient_of_the_last_state_alone(
    backend: str, operands: Make, error: Callable[[Tensor, Tensor], float], scan_with: Choose
) -> None:
    found = {}
    for name, dtype in ((backend, torch.float32), ("reference", torch.float64)):
        scan_with(name)
        leaves = {k: v.to(dtype).requires_grad_() for k, v in operands(1, 5, 70, 3).items()}
        _, last = selective_scan(**leaves, delta_softplus=True, return_last_state=True)
        wanted = [leaves[k] for k in ("u", "delta", "A", "B", "delta_bias")]
        found[dtype] = torch.autograd.grad((last * torch.arange(15).reshape(1, 5, 3)).sum(), wanted)
    assert all(error(a, b) < 1e-5 for a, b in zip(found[torch.float32], found[torch.float64], strict=True))


def test_float64_goes_to_the_reference_which_alone_has_it(operands: Make) -> None:
    o = {name: operand.double() for name, operand in operands().items()}
    assert explain_backend("cpu", torch.float64).name == "reference"
    assert selective_scan(**o).dtype == torch.float64


@pytest.mark.parametrize("wish", ["mamba_ssm", "no-such-backend"])
def test_asking_for_what_is_not_there_is_an_error(wish: str, operands: Make, scan_with: Choose) -> None:
    scan_with(wish)
    with pytest.raises(RequestError, match=f"HSFUSE_SCAN={wish}"):
        selective_scan(**operands())


def test_asking_numba_for_float64_is_an_error(operands: Make, scan_with: Choose) -> None:
    scan_with("numba")
    with pytest.raises(RequestError, match="float64"):
        selective_scan(**{name: operand.double() for name, operand in operands().items()})


def test_the_choice_is_logged_once(operands: Make, caplog: pytest.LogCaptureFixture) -> None:
    _choose.cache_clear()
    with caplog.at_level(logging.INFO, "hsfuse.scan"):
        for _ in range(3):
            selective_scan(**operands())
    assert sum("numba" in message for message in caplog.messages) == 1


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("u", (2, 5)),
        ("delta", (2, 5, 39)),
        ("A", (4, 4)),
        ("A", (5, 257)),
        ("B", (2, 4, 39)),
        ("B", (2, 2, 4, 40)),
        ("C", (2, 1, 3, 40)),
        ("C", (4, 5)),
        ("D", (4,)),
        ("delta_bias", (1,)),
        ("z", (2, 5, 1)),
    ],
)
def test_a_shape_that_does_not_fit_is_named_with_its_numbers(name: str, shape: tuple[int, ...], operands: Make) -> None:
    with pytest.raises(RequestError, match=f"{name} |states") as caught:
        selective_scan(**{**operands(2, 5, 40, 4), name: torch.ones(shape)})
    assert any(str(n) in str(caught.value) for n in shape)


def test_complex_operands_are_refused(operands: Make) -> None:
    o = operands()
    with pytest.raises(RequestError, match="complex"):
        selective_scan(**{**o, "A": o["A"].to(torch.complex64)})


@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_three_dimensional_weights_and_no_options(backend: str, operands: Make, scan_with: Choose) -> None:
    scan_with(backend)
    o = operands()
    needed = {k: o[k] for k in ("u", "delta", "A")}
    three = selective_scan(**needed, B=o["B"][:, 0], C=o["C"][:, 0])
    four = selective_scan(**needed, B=o["B"], C=o["C"])
    assert torch.equal(three, four)


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    code = "import sys, hsfuse.scan; print([m for m in ('numba', 'triton', 'mamba_ssm') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]"
