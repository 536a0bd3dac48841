"""How networks are optimised: hsfuse's own recipe, and those that the two papers print."""

from __future__ import annotations

from dataclasses import dataclass

from hsfuse.errors import RequestError


@dataclass(frozen=True)
class Recipe:
    """Settings of Adam and how its rate falls."""

    betas: tuple[float, float] = (0.9, 0.99)
    """Of Adam's two moments."""

    eps: float = 1e-6
    """Of Adam. With torch's 1e-8 it makes whole steps of rounding errors where a gradient is zero but for them, as that
    of the bias of attention's keys: results would depend on how a batch is shared out."""

    weight_decay: float = 1e-4
    """Decoupled from the gradient (AdamW); without any AdamW is Adam."""

    clip: float | None = 1.0
    """Largest norm of a step's gradient; None for any."""

    average: float = 0.998
    """Decay of the running mean of the weights, which is what is validated and kept; 0 for the weights as they are."""

    cosine: bool = True
    """Whether the rate rises over the first 3 % of the training and falls as a cosine; else it is constant, but for
    `halved_every`."""

    halved_every: int | None = None
    """Epochs after which the rate is halved, again and again."""

    learning_rate: float | None = None
    """Its maximum; None for what suits the weights to start from."""

    batch: int = 8
    """Patches a step and process."""

    epochs: int | None = None
    """Times that every pixel is seen where no other length is asked for; None for half an hour."""


OWN = Recipe()
"""What a network learns fastest by here."""

_ADAM = {"eps": 1e-8, "weight_decay": 0.0, "clip": None, "average": 0.0, "cosine": False}

PAPERS = {
    "mgdunlss": Recipe(
        betas=(0.9, 0.999), halved_every=5, learning_rate=1e-3, batch=16, epochs=100, **_ADAM,  # type: ignore[arg-type]
    ),
    "ssrfn": Recipe(betas=(0.9, 0.99), learning_rate=1e-4, batch=8, epochs=200, **_ADAM),  # type: ignore[arg-type]
}  # fmt: skip
"""By network. Khader et al. 2023, IV-D: Adam with a momentum of 0.999 (read as the second moment's), 1e-3 halved every
five epochs, batches of 16, 100 epochs. Zhao et al. 2024, III-A: Adam with 0.9 and 0.99, 1e-4, batches of 8, 200 epochs.
Neither prints an epsilon, a decay of weights or a bound on gradients: torch's epsilon, and none."""


def recipe(optimiser: str, model: str) -> Recipe:
    """The recipe of a name, `default` or `paper`, for a network.

    Raises:
        RequestError: There is no such recipe.
    """
    if optimiser not in {"default", "paper"}:
        raise RequestError(f"`optimiser` is {optimiser!r}: choose default or paper")
    return OWN if optimiser == "default" else PAPERS[model]
