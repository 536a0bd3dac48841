"""A QGIS plugin: hsfuse as a Processing provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .plugin import HsfusePlugin


def classFactory(_interface: Any) -> HsfusePlugin:  # noqa: N802 (QGIS asks for this name)
    """What QGIS loads."""
    from .plugin import HsfusePlugin  # noqa: PLC0415 (QGIS reads this file before it wants the plugin)

    return HsfusePlugin()
