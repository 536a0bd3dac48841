"""The whole state of a training in one safetensors file, written at once or not at all."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from numbers import Real
from typing import TYPE_CHECKING, Any

from hsfuse.errors import RequestError
from hsfuse.models.tensor_file import TensorFile, TensorFileError, write_tensor_file

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor

FORMAT = "hsfuse-checkpoint/2"


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

    score: float
    """What decides which weights are best, made of the figures; more is better."""

    best: bool
    """Whether it was the best so far."""

    skipped: int
    """Steps so far that changed nothing, since their loss or gradient was not finite."""

    @property
    def sentence(self) -> str:
        """A line of a log."""
        loss = "" if self.loss is None else f"loss {self.loss:.4f}, "
        figures = ", ".join(f"{name.upper()} {value:.3f}" for name, value in self.figures.items())
        best = ", the best so far" if self.best else ""
        skipped = f", {self.skipped} steps skipped so far" if self.skipped else ""
        judged = f"validation {figures}, score {self.score:.3f}{best}"
        return f"step {self.step}, {self.elapsed:.0f} s: {loss}{judged}{skipped}"


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

    skipped: int
    """Steps that changed nothing."""

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
            "skipped": self.skipped,
            "loss_scale": self.loss_scale,
            "history": [asdict(record) for record in self.history],
        }
        write_tensor_file(path, tensors, header)

    @classmethod
    def read(cls, path: Path, request: str) -> Checkpoint:
        """The state in a file.

        Raises:
            RequestError: It is no checkpoint, or one of another request.
        """
        try:
            file = TensorFile.open(path)
            _check_header(file.content, path, request)
            tensors = file.tensors()
        except (TensorFileError, OSError) as error:
            raise RequestError(f"{path} is no checkpoint of hsfuse: leave `resume` out to start anew") from error
        return cls._of(file.content, tensors)

    @classmethod
    def _of(cls, header: dict[str, Any], tensors: dict[str, Tensor]) -> Checkpoint:
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in _under(tensors, "optimizer.").items():
            index, _, key = name.partition(".")
            moments.setdefault(int(index), {})[key] = value
        return cls(
            header["request"],
            header["step"],
            header["elapsed"],
            header["best_score"],
            header["skipped"],
            header["loss_scale"],
            tuple(Record(**record) for record in header["history"]),
            _under(tensors, "network."),
            _under(tensors, "averaged."),
            _under(tensors, "best."),
            moments,
        )

    def check_fits(self, state: dict[str, Tensor], path: Path) -> None:
        """Hold the weights against those of a network that is to go on with them.

        Args:
            state: Of the network.
            path: Where the checkpoint was read.

        Raises:
            RequestError: A tensor is missing, superfluous or of another shape.
        """
        shapes = {name: value.shape for name, value in state.items()}
        fits = all(
            {name: value.shape for name, value in weights.items()} == shapes
            for weights in (self.network, self.averaged, self.best_weights)
        )
        sizes = [value.shape for value in state.values()]
        if not fits or not all(_is_of_one(moment, sizes) for moment in self.moments.values()):
            raise RequestError(f"{path} holds the state of another network: leave `resume` out to start anew")


def optimizer_moments(optimizer: torch.optim.Optimizer) -> dict[int, dict[str, Tensor]]:
    """What an optimizer remembers of each parameter."""
    moments: dict[int, dict[str, Tensor]] = optimizer.state_dict()["state"]
    return moments


def _flat(moments: dict[int, dict[str, Tensor]]) -> dict[str, Tensor]:
    return {f"{index}.{name}": value for index, group in moments.items() for name, value in group.items()}


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _is_of_one(moment: dict[str, Tensor], sizes: list[torch.Size]) -> bool:
    return all(not value.shape or value.shape in sizes for value in moment.values())


def _check_header(header: dict[str, Any], path: Path, request: str) -> None:
    if header.get("format") != FORMAT:
        raise RequestError(f"{path} is a checkpoint of another version of hsfuse: leave `resume` out to start anew")
    history = header.get("history")
    sound = (
        isinstance(header.get("request"), str)
        and _is_number(header.get("step"), int)
        and _is_number(header.get("elapsed"))
        and _is_number(header.get("best_score"))
        and _is_number(header.get("skipped"), int)
        and isinstance(header.get("loss_scale"), dict)
        and isinstance(history, list)
        and all(_is_record(record) for record in history)
    )
    if not sound:
        raise RequestError(f"{path} is a damaged checkpoint: leave `resume` out to start anew")
    if header["request"] != request:
        raise RequestError(
            f"{path} belongs to a training with other inputs or options: repeat those, or leave `resume` out to "
            "start anew"
        )


def _is_number(value: Any, kind: type = Real) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _is_record(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {entry.name for entry in fields(Record)}
        and _is_number(value["step"], int)
        and _is_number(value["skipped"], int)
        and all(_is_number(value[name]) for name in ("elapsed", "learning_rate", "score"))
        and (value["loss"] is None or _is_number(value["loss"]))
        and isinstance(value["figures"], dict)
        and all(_is_number(figure) for figure in value["figures"].values())
        and isinstance(value["best"], bool)
    )
