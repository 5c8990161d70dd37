"""One file per kind of device. Vendor packages are imported inside them, and only when one is asked for."""

from importlib import import_module

from pipeline.backends.backend import Backend
from pipeline.errors import ArtifactError

BACKENDS = ("cpu", "cuda", "neuron")


def backend(name: str) -> Backend:
    """The backend of a name.

    Raises:
        ArtifactError: there is none.
    """
    if name not in BACKENDS:
        msg = f"no backend {name!r}: there are {', '.join(BACKENDS)}"
        raise ArtifactError(msg)
    made: Backend = import_module(f"pipeline.backends.{name}").make()
    return made
