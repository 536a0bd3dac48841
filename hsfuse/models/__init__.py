"""The fusion networks. They know tensors and the imaging model, never a raster.

`ARCHITECTURES` says how a weights file's architecture is built; a second builder of one name is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hsfuse.models.bands import BandNetwork
from hsfuse.models.mgdunlss import (
    MGDuNLSSConfig,
    MGDuNLSSNet,
    SubspaceMGDuNLSSConfig,
    SubspaceMGDuNLSSNet,
)
from hsfuse.models.ssrfn import SSRFNConfig, SSRFNNet, SubspaceSSRFNConfig, SubspaceSSRFNNet

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

ARCHITECTURES: dict[str, tuple[type[Any], Callable[[Any], nn.Module]]] = {}
"""Name of an architecture: its configuration's class, and what builds the network from one."""


def register(name: str, config: type[Any], build: Callable[[Any], nn.Module]) -> None:
    """Add an architecture.

    Raises:
        ValueError: The name is taken.
    """
    if name in ARCHITECTURES:
        raise ValueError(f"an architecture named {name!r} is there already")
    ARCHITECTURES[name] = (config, build)


register("mgdunlss", MGDuNLSSConfig, lambda config: BandNetwork(MGDuNLSSNet(config)))
register("mgdunlss-subspace", SubspaceMGDuNLSSConfig, SubspaceMGDuNLSSNet)
register("ssrfn", SSRFNConfig, lambda config: BandNetwork(SSRFNNet(config)))
register("ssrfn-subspace", SubspaceSSRFNConfig, SubspaceSSRFNNet)
