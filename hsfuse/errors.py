"""The errors that a user can cause, raised where they are found out with the sentence that will be read.

Two families, which the command line turns into its exit statuses: a `RequestError` says that what was asked
for cannot be served and that nothing was written; a `WorkError` says that the work failed on the way.
"""


class HsfuseError(Exception):
    """Anything that hsfuse refuses or fails at; its text is one sentence for the user."""


class RequestError(HsfuseError):
    """The request cannot be served: a bad option, or unreadable or unsuitable input."""


class SceneError(RequestError):
    """A scene cannot be read, or is not what the task needs."""


class PairError(RequestError):
    """Two scenes that are each fine cannot be used together."""


class ImagingError(RequestError):
    """A spectral response or point spread cannot be loaded, or cannot be determined from the pair."""


class WeightsError(RequestError):
    """A weights file cannot be read or does not fit."""


class OutputError(RequestError):
    """The output cannot be written where it was asked for."""


class WorkError(HsfuseError):
    """The work failed on the way (disk full, out of memory, input that breaks off); no output was left."""
