"""A smooth displacement of the HSI on the MSI, kept on a regular grid of nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from hsfuse.errors import ImagingError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FORMAT = "hsfuse-displacement/1"


@dataclass(frozen=True, eq=False)
class DisplacementField:
    """Where the HSI looks beside its nominal place on the MSI, place by place, in the sign of `ImagingModel.shift`.

    Positions are columns and rows of the HSI scene, continuous: pixel i reaches from i to i + 1.

    Raises:
        ImagingError: The nodes are not finite, too few, or not on a grid.
    """

    origin: tuple[float, float]
    """Position (x, y) of the first node, in HSI pixels."""

    spacing: float
    """From node to node, in HSI pixels."""

    nodes: NDArray[np.float64]
    """Displacement (x, y) at the nodes, shape (2, rows, columns), in HSI pixels."""

    cells: NDArray[np.float64]
    """The cells that it runs through, shape (n, 5): column, row of the centre, x, y of the displacement, its
    standard error, all in HSI pixels."""

    spread: float
    """Robust standard deviation of the cells about the field, in HSI pixels."""

    def __post_init__(self) -> None:
        nodes, cells = np.asarray(self.nodes, dtype=np.float64), np.asarray(self.cells, dtype=np.float64)
        if nodes.ndim != 3 or nodes.shape[0] != 2 or min(nodes.shape) < 1 or not np.isfinite(nodes).all():
            raise ImagingError(f"a displacement field has finite nodes of shape (2, rows, columns), not {nodes.shape}")
        if not (self.spacing > 0 and np.isfinite([*self.origin, self.spacing, self.spread]).all()):
            raise ImagingError(f"a displacement field has nodes at a positive distance, not {self.spacing}")
        if cells.ndim != 2 or cells.shape[1] != 5:
            raise ImagingError(f"the cells of a displacement field have five numbers each, not {cells.shape}")
        object.__setattr__(self, "nodes", nodes)
        object.__setattr__(self, "cells", cells)

    def at(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Displacement (x, y) in HSI pixels at positions in HSI pixels, any shape, by cubic splines between the nodes.

        What the HSI shows at (x, y) lies on the MSI at (x, y) plus that.
        """
        places = np.stack(np.broadcast_arrays(np.asarray(y) - self.origin[1], np.asarray(x) - self.origin[0]))
        along_x, along_y = (
            ndimage.map_coordinates(nodes, places / self.spacing, order=3, mode="nearest") for nodes in self.nodes
        )
        return np.asarray(along_x, dtype=np.float64), np.asarray(along_y, dtype=np.float64)

    def msi_points(
        self, x: NDArray[np.float64], y: NDArray[np.float64], ratio: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where to read the nominally placed MSI for points of the fine grid, so that it comes to lie on the HSI.

        Args:
            x: Columns of the fine grid, continuous (pixel i has its centre at i + 0.5).
            y: Rows of the fine grid.
            ratio: HSI pixel over MSI pixel.
        """
        along_x, along_y = self.at(np.asarray(x) / ratio, np.asarray(y) / ratio)
        return x + ratio * along_x, y + ratio * along_y

    def hsi_points(
        self, x: NDArray[np.float64], y: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The other way round: where the HSI shows what the MSI shows at (x, y), all in HSI pixels."""
        there = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        here = there
        for _ in range(20):  # a contraction, as long as the field stretches less than its own scale
            along_x, along_y = self.at(*here)
            here = there[0] - along_x, there[1] - along_y
        return here

    def after(self, first: DisplacementField) -> DisplacementField:
        """The field that was measured on images from which another one was taken out, together with that one."""
        rows, columns = (np.arange(edge) * self.spacing for edge in self.nodes.shape[1:])
        x, y = np.meshgrid(columns + self.origin[0], rows + self.origin[1])
        nodes = self.nodes + first.at(x + self.nodes[0], y + self.nodes[1])
        cells = self.cells.copy()
        cells[:, 2:4] += np.stack(first.at(*(cells[:, :2] + cells[:, 2:4]).T), axis=1)
        return DisplacementField(self.origin, self.spacing, nodes, cells, self.spread)

    @property
    def mean(self) -> tuple[float, float]:
        """Displacement (x, y) in the middle of the cells, in HSI pixels."""
        middle = np.median(self.cells[:, 2:4], axis=0) if len(self.cells) else self.nodes.mean(axis=(1, 2))
        return float(middle[0]), float(middle[1])

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "format": _FORMAT,
            "origin_hsi_pixels": list(self.origin),
            "spacing_hsi_pixels": self.spacing,
            "x_hsi_pixels": np.round(self.nodes[0], 4).tolist(),
            "y_hsi_pixels": np.round(self.nodes[1], 4).tolist(),
            "cells": np.round(self.cells, 4).tolist(),
            "spread_hsi_pixels": self.spread,
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> DisplacementField:
        """Read what `to_dict` wrote.

        Raises:
            ImagingError: It is something else.
        """
        try:
            if content["format"] != _FORMAT:
                raise ImagingError(f"a displacement field's format is {_FORMAT}, not {str(content['format'])[:40]}")
            nodes = np.array([content["x_hsi_pixels"], content["y_hsi_pixels"]], dtype=np.float64)
            cells = np.array(content["cells"], dtype=np.float64).reshape(-1, 5)
            x, y = content["origin_hsi_pixels"]
            spread = float(content["spread_hsi_pixels"])
            return cls((float(x), float(y)), float(content["spacing_hsi_pixels"]), nodes, cells, spread)
        except (KeyError, TypeError, ValueError) as error:
            raise ImagingError(f"not a complete displacement field ({error})") from error
