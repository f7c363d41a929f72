"""Variational autoencoders in Pyro, whose sites are heads.

A head turns a network's raw output into a distribution: a latent site has two, p in the model and
q in the guide, an observed site one. Swapping a likelihood, a prior or a posterior is swapping one.
"""

import importlib
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyro_vae import (
        config,
        data,
        inference,
        metrics,
        networks,
        objectives,
        observations,
        posteriors,
        priors,
        schedules,
        testing,
        training,
    )
    from pyro_vae.diagnostics import Diagnosis
    from pyro_vae.diagnostics.diagnosing import diagnose
    from pyro_vae.errors import InputError, TrainingError
    from pyro_vae.forecasting import Forecast, forecast
    from pyro_vae.heads import Head, Param
    from pyro_vae.loss_audit import AuditReport
    from pyro_vae.loss_audit.auditing import audit
    from pyro_vae.metrics import evaluate
    from pyro_vae.reports import report
    from pyro_vae.several import Part
    from pyro_vae.sweeps import Comparison, compare
    from pyro_vae.training import History, RunConfig, fit, load, resume, save
    from pyro_vae.vae import VAE, JointVAE

    __version__: str

__all__ = [
    "VAE",
    "AuditReport",
    "Comparison",
    "Diagnosis",
    "Forecast",
    "Head",
    "History",
    "InputError",
    "JointVAE",
    "Param",
    "Part",
    "RunConfig",
    "TrainingError",
    "audit",
    "compare",
    "config",
    "data",
    "diagnose",
    "evaluate",
    "fit",
    "forecast",
    "inference",
    "load",
    "metrics",
    "networks",
    "objectives",
    "observations",
    "posteriors",
    "priors",
    "report",
    "resume",
    "save",
    "schedules",
    "testing",
    "training",
]

_HOMES = {
    "diagnostics": ("Diagnosis", "diagnose"),
    "errors": ("InputError", "TrainingError"),
    "forecasting": ("Forecast", "forecast"),
    "heads": ("Head", "Param"),
    "history": ("History",),
    "loss_audit": ("AuditReport", "audit"),
    "metrics": ("evaluate",),
    "reports": ("report",),
    "several": ("Part",),
    "sweeps": ("Comparison", "compare"),
    "training": ("RunConfig", "fit", "load", "resume", "save"),
    "vae": ("VAE", "JointVAE"),
}
"""Where names are from. They are imported when they are asked for: the command line answers
``--help`` without torch, and nobody waits for rooms that are not entered."""
_HOME = {name: home for home, names in _HOMES.items() for name in names}
_MOVED = {
    "comparison": "sweeps",
    "diagnosis": "diagnostics",
    "evaluation": "metrics",
    "measures": "elbo",
    "reporting": "reports",
}
"""Rooms under their former names, for one release."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("pyro_vae")
    if name in _MOVED:
        now = _MOVED[name]
        said = (
            f"{__name__}.{name} is {__name__}.{now} now: the former name goes in the next release"
        )
        warnings.warn(said, DeprecationWarning, stacklevel=2)
        return importlib.import_module(f"{__name__}.{now}")
    home = _HOME.get(name)
    if home is not None:
        found = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    elif name in __all__:
        found = importlib.import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
