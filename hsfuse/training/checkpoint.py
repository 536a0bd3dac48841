"""The whole state of a training in one safetensors file, written at once or not at all."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from hsfuse.errors import RequestError

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor

FORMAT = "hsfuse-checkpoint/1"


@dataclass(frozen=True)
class Record:
    """One validation of a training."""

    step: int
    """Optimizer steps done."""

    elapsed: float
    """Seconds of training."""

    loss: float | None
    """Mean over the steps since the record before; None before the first."""

    learning_rate: float
    """At this point."""

    figures: dict[str, float]
    """Of the validation, by name."""

    best: bool
    """Whether it was the best so far."""

    @property
    def sentence(self) -> str:
        """A line of a log."""
        loss = "" if self.loss is None else f"loss {self.loss:.4f}, "
        figures = ", ".join(f"{name.upper()} {value:.3f}" for name, value in self.figures.items())
        best = ", the best so far" if self.best else ""
        return f"step {self.step}, {self.elapsed:.0f} s: {loss}validation {figures}{best}"


@dataclass(frozen=True)
class Checkpoint:
    """What a training needs to go on as if it had not been interrupted."""

    request: str
    """What was asked for."""

    step: int
    """Optimizer steps done."""

    elapsed: float
    """Seconds of training."""

    best_score: float
    """On validation."""

    loss_scale: dict[str, Any]
    """State of the scaler of half precision's gradients; empty in other precisions."""

    history: tuple[Record, ...]
    """Every validation."""

    network: dict[str, Tensor]
    """Weights."""

    averaged: dict[str, Tensor]
    """Their running mean."""

    best_weights: dict[str, Tensor]
    """Those that were best on validation."""

    moments: dict[int, dict[str, Tensor]]
    """The optimizer's, by parameter."""

    def write(self, path: Path) -> None:
        """Replace the file at `path` by this state."""
        tensors = {
            f"{group}.{name}": value
            for group, values in (
                ("network", self.network),
                ("averaged", self.averaged),
                ("best", self.best_weights),
                ("optimizer", _flat(self.moments)),
            )
            for name, value in values.items()
        }
        header = {
            "format": FORMAT,
            "request": self.request,
            "step": self.step,
            "elapsed": self.elapsed,
            "best_score": self.best_score,
            "loss_scale": self.loss_scale,
            "history": [asdict(record) for record in self.history],
        }
        temporary = path.with_name(path.name + ".part")
        contiguous = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        save_file(contiguous, temporary, metadata={"hsfuse": json.dumps(header)})
        temporary.replace(path)

    @classmethod
    def read(cls, path: Path, request: str) -> Checkpoint:
        """The state in a file.

        Raises:
            RequestError: It is no checkpoint, or one of another request.
        """
        try:
            with safe_open(path, framework="pt") as file:
                header: dict[str, Any] = json.loads((file.metadata() or {})["hsfuse"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise RequestError(f"{path} is no checkpoint of hsfuse: leave `resume` out to start anew") from error
        if header.get("format") != FORMAT:
            raise RequestError(f"{path} is a checkpoint of another version of hsfuse: leave `resume` out to start anew")
        if header["request"] != request:
            raise RequestError(
                f"{path} belongs to a training with other inputs or options: repeat those, or leave `resume` out to "
                "start anew"
            )
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in _under(tensors, "optimizer.").items():
            index, key = name.split(".", 1)
            moments.setdefault(int(index), {})[key] = value
        return cls(
            request,
            header["step"],
            header["elapsed"],
            header["best_score"],
            header["loss_scale"],
            tuple(Record(**record) for record in header["history"]),
            _under(tensors, "network."),
            _under(tensors, "averaged."),
            _under(tensors, "best."),
            moments,
        )


def optimizer_moments(optimizer: torch.optim.Optimizer) -> dict[int, dict[str, Tensor]]:
    """What an optimizer remembers of each parameter."""
    moments: dict[int, dict[str, Tensor]] = optimizer.state_dict()["state"]
    return moments


def _flat(moments: dict[int, dict[str, Tensor]]) -> dict[str, Tensor]:
    return {f"{index}.{name}": value for index, group in moments.items() for name, value in group.items()}


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
