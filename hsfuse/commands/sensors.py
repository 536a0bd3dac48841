"""`hsfuse sensors`: the spectral response tables that come with hsfuse."""

from __future__ import annotations

from hsfuse.imaging import SensorTable, load_table, sensor_names


def list_sensors() -> list[SensorTable]:
    """The tables that come with hsfuse, by name."""
    return [load_table(name) for name in sensor_names()]


def show_sensor(source: str) -> SensorTable:
    """The table of one sensor; `source` is its name, or a file as `srf` takes it.

    Raises:
        ImagingError: No such sensor or file, or the file is no such table.
    """
    return load_table(source)
