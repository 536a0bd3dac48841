"""hsfuse: the spectra of a hyperspectral sensor at the resolution of a multispectral one."""

__version__ = "0.1.0"
