"""What a step of training takes of memory, and into how many parts a batch is cut so that it fits."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from torch.autograd.graph import saved_tensors_hooks

from hsfuse.errors import RequestError

if TYPE_CHECKING:
    from torch import Tensor

    from hsfuse.training.schedule import Schedule
    from hsfuse.training.start import StartingPoint

_BACKWARD = 1.25  # what is kept of a patch, and the gradients that pass through it (measured: 1.25)
_SHARE = 0.6  # of what is there: validations and the optimiser take some, and an allocator does not pack


def within_memory(start: StartingPoint, schedule: Schedule, budget: int) -> tuple[Schedule, str | None]:
    """The schedule with its batch in so many parts that the activations of each fit; a sentence if that are more.

    Args:
        start: Task and network, as they are trained.
        schedule: As it was asked for.
        budget: Bytes that there are.

    Raises:
        RequestError: Not even one patch fits; the sentence has the numbers and the ways out.
    """
    each, budget = max(int(_BACKWARD * bytes_a_patch(start)), 1), int(_SHARE * budget)
    if each > budget:
        raise RequestError(
            f"training takes {each / 2**30:.2f} GB for a patch of {start.task.patch} degraded HSI pixels, and "
            f"{budget / 2**30:.2f} GB are there for it: pass a smaller `patch`, or `gradient_checkpointing`"
        )
    parts = math.ceil(schedule.batch / (budget // each))
    if parts <= schedule.accumulate:
        return schedule, None
    return replace(schedule, accumulate=parts), (
        f"a batch of {schedule.batch} patches takes {schedule.batch * each / 2**30:.1f} GB, and "
        f"{budget / 2**30:.1f} GB are there for it: it is computed in {parts} parts, their gradients summed"
    )


def bytes_a_patch(start: StartingPoint) -> int:
    """What autograd keeps of one patch for the backward pass, the weights left out."""
    kept: dict[int, int] = {}
    weights = {parameter.untyped_storage().data_ptr() for parameter in start.network.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        start.task.loss_of_one(start.network)
    return sum(kept.values())
