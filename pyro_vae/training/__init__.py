"""Training: fit, its history, and run folders."""

import warnings
from typing import Any

from pyro_vae.history import History
from pyro_vae.training.faults import FaultError
from pyro_vae.training.loop import fit
from pyro_vae.training.progress import Progress, Stopped
from pyro_vae.training.resuming import resume
from pyro_vae.training.run_config import RunConfig
from pyro_vae.training.runs import load, read_config, save

__all__ = [
    "FaultError",
    "History",
    "Progress",
    "RunConfig",
    "Stopped",
    "fit",
    "load",
    "read_config",
    "resume",
    "save",
]


def __getattr__(name: str) -> Any:
    """Names that moved, for one release."""
    from pyro_vae.config import FitConfig

    moved = {"Recipe": RunConfig, "Settings": FitConfig}
    if name not in moved:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    now = moved[name]
    said = f"{__name__}.{name} is {now.__module__.rpartition('.')[0]}.{now.__name__} now"
    warnings.warn(said, DeprecationWarning, stacklevel=2)
    return now
