"""Stages of networks whose activations are computed again in the backward pass instead of being kept.

Chen et al. 2016, Training Deep Nets with Sublinear Memory Cost; in torch's words activation or gradient
checkpointing. Of each stage only the inputs are kept, for one more forward pass; gradients are the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable


class Staged(nn.Module):
    """A module that computes in stages."""

    recompute: bool = False
    """Whether the activations within its stages are computed again when gradients need them."""

    def stage(self, function: Callable[..., Any], *inputs: Any) -> Any:
        """`function` of `inputs`, as a stage; nothing in it is drawn at random."""
        if not (self.recompute and torch.is_grad_enabled()):
            return function(*inputs)
        return checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False)


def recompute_stages(network: nn.Module) -> int:
    """Have every stage of a network recompute its activations; returns how many modules have stages."""
    staged = [module for module in network.modules() if isinstance(module, Staged)]
    for module in staged:
        module.recompute = True
    return len(staged)
