"""`hsfuse fuse` as a Processing algorithm: words from parameters, what it says into the log, its COG as a layer."""

from __future__ import annotations

import json
import os
import queue
import shlex
import shutil
import subprocess
import threading
from typing import Any

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingException,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
)

MODELS = ("stack", "mgdunlss", "ssrfn", "bayes", "mtf-glp-subspace", "hysure", "cnmf", "gsa", "mtf-glp", "bicubic")
OF_QGIS = ("PYTHONHOME", "PYTHONPATH", "GDAL_DATA", "GDAL_DRIVER_PATH", "PROJ_DATA", "PROJ_LIB")
"""What QGIS sets for its own Python and GDAL, which are not hsfuse's."""
GIVEN_UP = "given up"


class FuseAlgorithm(QgsProcessingAlgorithm):
    """Fuses two raster layers."""

    def name(self) -> str:
        """Name in scripts and models."""
        return "fuse"

    def displayName(self) -> str:  # noqa: N802 (QGIS's names, also below)
        """Name in the toolbox."""
        return "Fuse a hyperspectral and a multispectral scene"

    def shortHelpString(self) -> str:  # noqa: N802
        """What the dialog shows."""
        return (
            "Writes a Cloud Optimized GeoTIFF with the bands of the hyperspectral layer at the pixel size of the "
            "multispectral one. Both show one place, at most two hyperspectral pixels apart. Further options are those "
            "of `hsfuse fuse --help`, such as --srf sentinel-2a, --grid msi or --coregister."
        )

    def createInstance(self) -> FuseAlgorithm:  # noqa: N802
        """Another of its kind."""
        return FuseAlgorithm()

    def initAlgorithm(self, _configuration: Any = None) -> None:  # noqa: N802
        """Its parameters."""
        command = QgsProcessingParameterString("COMMAND", "The command hsfuse", os.environ.get("HSFUSE", "hsfuse"))
        command.setFlags(command.flags() | QgsProcessingParameterDefinition.FlagAdvanced)
        for parameter in (
            QgsProcessingParameterRasterLayer("HSI", "Hyperspectral scene"),
            QgsProcessingParameterRasterLayer("MSI", "Multispectral scene"),
            QgsProcessingParameterEnum("MODEL", "Method", MODELS, defaultValue=MODELS[0], usesStaticStrings=True),
            QgsProcessingParameterString("EXTRA", "Further options of hsfuse fuse", "", optional=True),
            command,
            QgsProcessingParameterRasterDestination("OUTPUT", "Fused scene"),
            QgsProcessingParameterRasterDestination(
                "UNCERTAINTY", "Standard deviations", optional=True, createByDefault=False
            ),
        ):
            self.addParameter(parameter)

    def processAlgorithm(self, parameters: Any, context: Any, feedback: Any) -> dict[str, Any]:  # noqa: N802
        """Run the command and wait for it.

        Raises:
            QgsProcessingException: There is no such command, a layer is no file, or hsfuse says why it cannot.
        """
        wanted = self.parameterAsString(parameters, "COMMAND", context)
        command = shutil.which(wanted)
        if command is None:
            raise QgsProcessingException(f"there is no command {wanted}: give hsfuse's whole path as COMMAND")
        words = [command, "fuse", "--json", "--overwrite"]  # QGIS has asked whether a file may be replaced
        for name in ("HSI", "MSI"):
            layer = self.parameterAsRasterLayer(parameters, name, context)
            if layer is None or layer.providerType() != "gdal":
                raise QgsProcessingException(f"{name} is no raster that GDAL reads")
            words += [f"--{name.lower()}", layer.source()]
        words += ["--model", self.parameterAsString(parameters, "MODEL", context)]
        made = {"OUTPUT": self.parameterAsOutputLayer(parameters, "OUTPUT", context)}
        words += ["--output", made["OUTPUT"]]
        if parameters.get("UNCERTAINTY"):
            made["UNCERTAINTY"] = self.parameterAsOutputLayer(parameters, "UNCERTAINTY", context)
            words += ["--uncertainty", made["UNCERTAINTY"]]
        words += shlex.split(self.parameterAsString(parameters, "EXTRA", context))
        feedback.pushCommandInfo(shlex.join(words))
        for warning in json.loads(run(words, feedback))["warnings"]:
            feedback.pushWarning(warning)
        return made


def run(words: list[str], feedback: Any) -> str:
    """Run a command, show what it says as it says it, and end it where the user cancels; returns its result.

    Raises:
        QgsProcessingException: It failed or was cancelled; its last sentence.
    """
    environment = {name: value for name, value in os.environ.items() if name not in OF_QGIS}
    process = subprocess.Popen(  # noqa: S603 (the user's own command)
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8", env=environment
    )
    said: queue.Queue[str] = queue.Queue()
    results: list[str] = []
    readers = [
        threading.Thread(target=lambda: [said.put(line) for line in process.stderr], daemon=True),
        threading.Thread(target=lambda: results.append(process.stdout.read()), daemon=True),
    ]
    for reader in readers:
        reader.start()
    last = ""
    while any(reader.is_alive() for reader in readers) or not said.empty():
        if feedback.isCanceled():
            process.terminate()  # it cleans up behind itself
        try:
            last = said.get(timeout=0.2).rstrip()
        except queue.Empty:
            continue
        feedback.pushInfo(last)
    if process.wait() != 0:
        raise QgsProcessingException(GIVEN_UP if feedback.isCanceled() else last)
    return "".join(results)
