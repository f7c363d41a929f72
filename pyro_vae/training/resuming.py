"""Runs that were stopped, taken up again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pyro_vae.config import FitConfig
from pyro_vae.data import Data, as_source, split
from pyro_vae.errors import InputError
from pyro_vae.training.checkpoints import FOLDER
from pyro_vae.training.devices import device_of
from pyro_vae.training.loop import train
from pyro_vae.training.progress import Progress
from pyro_vae.training.run_config import OWN, Trained
from pyro_vae.training.run_data import load_data
from pyro_vae.training.runs import model_of, read_config

__all__ = ["resume"]

FREE = ("keep_checkpoints", "workers")
"""Options that may be others than the run began with."""
_OF_MODEL = ("obs", "net", "prior", "posterior")


def resume(
    run: str | Path,
    data: Data | None = None,
    progress: Progress | None = None,
    device: str = "auto",
    **given: Any,
) -> Trained:
    """Go on with a run that was stopped, with the options that it began with.

    The end is bit-identical to an uninterrupted run's on the same machine and number of threads.

    Args:
        run: Its folder.
        data: Its data; by default they are found again as its configuration says.
        progress: Who is told while it runs.
        device: ``cpu``, ``cuda``, ``mps``, or ``auto`` for the fastest that there is.
        **given: What the run has of the user's own, which no folder names: ``obs``, ``net``,
            ``prior``, ``posterior``, ``beta``, ``elbo``, ``optimizer``, ``augment``; and
            ``keep_checkpoints`` and ``workers``, which may be others than before.

    Returns:
        The model, the whole history, and the data.

    Raises:
        InputError: If the folder is no run's, the run is finished, the data are not at hand, or
            something else is given.

    Example:
        >>> import tempfile
        >>> import pyro_vae as pv
        >>> class Stop(pv.training.Progress):
        ...     def step(self, step):
        ...         if step == 1:
        ...             raise pv.training.Stopped
        >>> config = pv.RunConfig.of(images=64, hidden=8, batch_size=32, epochs=2, checkpoint="1")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     try:
        ...         _ = config.run(f"{folder}/run", progress=Stop())
        ...     except pv.training.Stopped:
        ...         trained = pv.resume(f"{folder}/run")
        >>> len(trained.history.steps)
        4
    """
    folder = Path(run)
    for name in given:
        if name not in (*FREE, *OWN, *_OF_MODEL):
            raise InputError(f"resume goes on with the options that the run began with: {name}")
    config = read_config(folder)
    check_unfinished(folder)
    vae = model_of(config, folder, **{n: given[n] for n in _OF_MODEL if n in given})
    vae.to(device_of(device))
    found = load_data(None, None, False, config)[0] if data is None else data
    settings = {**config["fit"], **{n: given[n] for n in (*FREE, *OWN) if n in given}}
    images, held_out = split(as_source(found.train, vae.data_shape), found.held_out)
    kept: dict[str, Any] = {name: config[name] for name in ("data", "options") if name in config}
    history = train(
        vae,
        images,
        held_out,
        FitConfig.of(**settings),
        out=folder,
        resume=True,
        progress=progress,
        kept=kept,
    )
    return Trained(vae, history, found)


def check_unfinished(folder: Path) -> None:
    """Make sure that a run has a checkpoint to go on from.

    Raises:
        InputError: If it has none.
    """
    if not (folder / FOLDER).is_dir():
        raise InputError(
            f"{folder} is finished: there is nothing to resume; to train longer, start anew with "
            "more --epochs"
        )
