"""The plugin and its provider."""

from __future__ import annotations

from qgis.core import QgsApplication, QgsProcessingProvider

from .fuse import FuseAlgorithm


class HsfuseProvider(QgsProcessingProvider):
    """Algorithms under `hsfuse:` in the Processing toolbox."""

    def id(self) -> str:
        """Name in scripts and models."""
        return "hsfuse"

    def name(self) -> str:
        """Name in the toolbox."""
        return "hsfuse"

    def loadAlgorithms(self) -> None:  # noqa: N802 (QGIS's name)
        """Offer them."""
        self.addAlgorithm(FuseAlgorithm())


class HsfusePlugin:
    """Adds the provider while the plugin is active."""

    def __init__(self) -> None:
        """Nothing is added yet."""
        self.provider: HsfuseProvider | None = None

    def initProcessing(self) -> None:  # noqa: N802
        """Add the provider; `qgis_process` calls this alone."""
        self.provider = HsfuseProvider()
        QgsApplication.processingRegistry().addProvider(self.provider)

    def initGui(self) -> None:  # noqa: N802
        """Add the provider."""
        self.initProcessing()

    def unload(self) -> None:
        """Take it away again."""
        QgsApplication.processingRegistry().removeProvider(self.provider)
