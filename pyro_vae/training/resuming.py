"""Runs that were stopped, taken up again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pyro_vae.config import FitConfig
from pyro_vae.data import Data, as_source, split
from pyro_vae.errors import InputError
from pyro_vae.files import expanded
from pyro_vae.training.checkpoints import FOLDER
from pyro_vae.training.devices import device_of
from pyro_vae.training.longer import Longer
from pyro_vae.training.loop import train
from pyro_vae.training.progress import Progress
from pyro_vae.training.run_config import OWN, Trained
from pyro_vae.training.run_data import load_data, part_of
from pyro_vae.training.runs import began_with, load, model_of, read_config

__all__ = ["resume"]

FREE = ("keep_checkpoints", "workers")
"""Options that may be others than the run began with."""
_OF_MODEL = ("obs", "net", "prior", "posterior")


def resume(
    run: str | Path,
    data: Data | None = None,
    progress: Progress | None = None,
    device: str = "auto",
    epochs: int | None = None,
    **given: Any,
) -> Trained:
    """Go on with a run that was stopped, or is to train longer, with its own options.

    The end of one that was stopped is bit-identical to an uninterrupted run's on the same machine
    and number of threads. One that was finished, of which the weights are left alone, goes on from
    these with a fresh optimiser, its schedules counting on: the history's notes say in a line what
    they do. Scores that ``evaluate`` left there go.

    Args:
        run: Its folder.
        data: Its data; by default they are found again as its configuration says.
        progress: Who is told while it runs.
        device: ``cpu``, ``cuda``, ``mps``, or ``auto`` for the fastest that there is.
        epochs: How many there are to be in all, those that are done included; None for as many as
            it began with.
        **given: What the run has of the user's own, which no folder names: ``obs``, ``net``,
            ``prior``, ``posterior``, ``beta``, ``elbo``, ``optimizer``, ``augment``; and
            ``keep_checkpoints`` and ``workers``, which may be others than before.

    Returns:
        The model, the whole history, and the data.

    Raises:
        InputError: If the folder is no run's, the run has done as many epochs, the data are not at
            hand or have changed, or something else is given.

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
    folder = expanded(run)
    for name in given:
        if name not in (*FREE, *OWN, *_OF_MODEL):
            raise InputError(f"resume goes on with the options that the run began with: {name}")
    read_config(folder)  # which says best what is no run's folder
    check_unfinished(folder, epochs)
    config = began_with(folder)
    own = {name: given[name] for name in _OF_MODEL if name in given}
    there = (folder / FOLDER).is_dir()
    vae = model_of(config, folder, **own) if there else load(folder, **own)
    vae.to(device_of(device))
    found = load_data(None, None, False, config)[0] if data is None else data
    settings = {**config["fit"], **{n: given[n] for n in (*FREE, *OWN) if n in given}}
    kept: dict[str, Any] = {name: config[name] for name in ("data", "options") if name in config}
    longer = None
    if epochs is not None:
        settings["epochs"] = FitConfig.of(epochs=epochs).epochs
        longer = Longer.of(folder, epochs, config)
        if isinstance(kept.get("options"), dict):
            kept["options"] = {**kept["options"], "epochs": epochs}
    images, held_out = split(as_source(found.train, vae.data_shape), found.held_out)
    history = train(
        vae,
        images,
        held_out,
        FitConfig.of(**settings),
        out=folder,
        resume=True,
        progress=progress,
        kept=kept,
        part=part_of(found),
        longer=longer,
    )
    return Trained(vae, history, found)


def check_unfinished(folder: Path, epochs: int | None = None) -> None:
    """Make sure that a run has a checkpoint to go on from, or is to train longer.

    Raises:
        InputError: If it has none and is not.
    """
    if epochs is None and not (folder / FOLDER).is_dir():
        raise InputError(
            f"{folder} is finished: there is nothing to resume; to train longer, give --epochs, "
            "those that are done included"
        )
