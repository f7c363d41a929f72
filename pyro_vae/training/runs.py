"""Run folders: what a run is on disk. Weights are safetensors, everything else JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.distributions import Distribution

from pyro_vae import networks, ours, posteriors, priors, specs
from pyro_vae.errors import InputError, reason
from pyro_vae.files import check_writable, expanded, in_utf8, replace, write_text
from pyro_vae.heads import Head
from pyro_vae.training import formats, weights
from pyro_vae.training.checkpoints import FOLDER, Checkpoints, write_tensors
from pyro_vae.training.locks import check_idle
from pyro_vae.types import JSON, Fields
from pyro_vae.vae import VAE, checked_vae

__all__ = ["load", "read_config", "save"]

CONFIG, WEIGHTS, METRICS = "config.json", "model.safetensors", "metrics.jsonl"
WRITTEN = (
    *(CONFIG, WEIGHTS, METRICS, "fault.json"),
    *("reconstructions.png", "samples.png", "curves.png", f"{FOLDER}/", "events/"),
)
"""What training may write."""


def check_free(out: str | Path, overwrite: bool = False, mine: bool = False) -> Path:
    """Make sure that a folder may take a run; nothing is written.

    Args:
        out: The folder.
        overwrite: Whether it may hold a run already.
        mine: Whether this process has its lock.

    Raises:
        InputError: If it holds a run already and may not be overwritten or is being trained, holds
            something else, is a file, or cannot be written.
    """
    folder = check_writable(out)
    if not mine:
        check_idle(folder)
    ours.check(folder, ours.RUN, WRITTEN)
    if not overwrite and ours.kind(folder) is not None:
        raise InputError(
            f"{folder} holds a run already: give another folder, --overwrite or --resume"
        )
    return folder


def check_apart(out: Path, data: str | Path, option: str = "data") -> None:
    """Make sure that a folder to write does not lie among the data, which an option named.

    Raises:
        InputError: If it does.
    """
    if Path(data).is_dir() and ours.within(out, data):
        raise InputError(f"--out {out} lies inside --{option} {data}: give a folder outside of it")


def save(vae: VAE, out: str | Path, **settings: object) -> Path:
    """Write a model into a run folder.

    Args:
        vae: The model.
        out: The folder; made if it is not there.
        **settings: Plain data to keep in config.json, as ``data=`` and ``fit=``.

    Returns:
        The folder.

    Raises:
        InputError: If it holds other files than a run's, is being trained, or cannot be written;
            nothing is written then.
    """
    checked_vae(vae, "save")
    folder = check_writable(out)
    check_idle(folder)
    return write(vae, folder, configuration(vae, **settings))


def configuration(vae: VAE, **settings: object) -> JSON:
    """What config.json holds: how the model is made, and ``settings``.

    Raises:
        InputError: If a setting is no plain data: better known before training than after it.
    """
    config: dict[str, Any] = {
        "format": formats.FORMAT,
        "pyro_vae": version("pyro_vae"),
        "vae": formats.described(vae),
    }
    for name, value in settings.items():
        try:
            config[name] = specs.plain(value)
        except (TypeError, ValueError) as error:
            raise InputError(f"{name} must be plain data, as JSON has it: {error}") from None
    return config


def write(vae: VAE, folder: Path, config: Fields) -> Path:
    """Write weights and configuration.

    Returns:
        The folder.
    """
    ours.claim(folder, ours.RUN, (CONFIG, WEIGHTS))
    # The configuration comes last: a folder without it is one whose writing was cut short.
    (folder / CONFIG).unlink(missing_ok=True)
    replace(folder / WEIGHTS, lambda path: write_tensors(vae.state_dict(), path))
    write_text(folder / CONFIG, json.dumps(config, indent=2) + "\n")
    return folder


def read_config(run: str | Path) -> JSON:
    """The configuration of a run folder; of its last checkpoint where training was cut short.

    A former format's is given in this version's; the folder stays as it is.

    Raises:
        InputError: If the folder is missing, half written, of a newer format, or not a run.
    """
    folder = expanded(run)
    path = folder / CONFIG
    if not folder.is_dir():
        raise InputError(f"there is no run folder {folder}")
    if not path.is_file():
        return dict(_unfinished(folder)["config"])
    return _config(path)


def _config(path: Path) -> JSON:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged: {error}") from None
    return formats.upgraded(config, path)


def began_with(folder: Path) -> JSON:
    """The configuration of a run as its last checkpoint has it, or as it ended."""
    if (folder / FOLDER).is_dir() and (found := Checkpoints(folder).latest()) is not None:
        return formats.upgraded(found[1].get("config"), folder)
    return read_config(folder)


def _unfinished(folder: Path) -> JSON:
    """The last checkpoint of a run that was cut short."""
    found = Checkpoints(folder).latest()
    if found is None:
        raise InputError(f"{folder} is no finished run: it has no {CONFIG}")
    return found[1] | {"config": formats.upgraded(found[1].get("config"), folder)}


def load(
    run: str | Path,
    obs: Head | Callable[[Tensor], Distribution] | Fields | None = None,
    net: networks.Networks | tuple[nn.Module, nn.Module] | None = None,
    name: str | None = None,
    prior: priors.Prior | None = None,
    posterior: posteriors.Posterior | None = None,
) -> VAE:
    """The model of a run folder, in evaluation mode.

    Nothing is unpickled, and no name in the folder is imported. Of a run that was cut short it is
    the model of the last checkpoint.

    Args:
        run: The folder.
        obs: The head or function of a run whose observation was the user's own; of several things
            a mapping to those of them, and to a :class:`~pyro_vae.several.Part` where what the
            encoder sees was the user's own.
        net: The networks, or their function, of a run whose networks were the user's own.
        name: Prefix in Pyro's parameter store, as for :class:`~pyro_vae.vae.VAE`.
        prior: The function of a run whose prior was the user's own.
        posterior: The function of a run whose posterior was the user's own.

    Raises:
        InputError: If the folder is missing, half written, of a newer format, or needs a part that
            was the user's own.
    """
    folder = expanded(run)
    path = folder / WEIGHTS
    if folder.is_dir() and not (folder / CONFIG).is_file():
        saved = _unfinished(folder)
        config, found = saved["config"], saved["course"]["state"]["vae"]
    else:
        config, found = read_config(folder), None
    vae = model_of(config, folder, obs, net, name, prior, posterior)
    try:
        if found is None:
            found = read_weights(folder)
        put_weights(vae, found, config["vae"].get("ties", ()))
    except FileNotFoundError:
        raise InputError(f"{folder} is no finished run: it has no {WEIGHTS}") from None
    except (SafetensorError, RuntimeError, OSError, LookupError, TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged or of another model: {reason(error)}") from None
    return vae.eval()


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The weights of a finished run, by their names.

    Raises:
        OSError: If they are not there.
        SafetensorError: If they are damaged.
    """
    with in_utf8(folder / WEIGHTS) as there:
        found: dict[str, Tensor] = load_file(there)
    return found


def model_of(
    config: Fields,
    folder: Path,
    obs: Head | Callable[[Tensor], Distribution] | Fields | None = None,
    net: networks.Networks | tuple[nn.Module, nn.Module] | None = None,
    name: str | None = None,
    prior: priors.Prior | None = None,
    posterior: posteriors.Posterior | None = None,
) -> VAE:
    """The untrained model of a configuration; arguments as for :func:`load`."""
    try:
        own = {"obs": obs, "net": net, "prior": prior, "posterior": posterior}
        arguments = formats.arguments(config["vae"], **own)
        for part in own:
            if arguments[part] is None:
                raise InputError(
                    f"{folder} was made with {part} of your own: pass {part}= (--{part} "
                    "PACKAGE.MODULE:NAME on the command line)"
                )
        return VAE(**arguments, name=name)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{folder / CONFIG} is damaged: {error!r}") from None
    except (RuntimeError, MemoryError, OverflowError) as error:  # of a size that nobody trained
        raise InputError(f"{folder / CONFIG} describes no model: {reason(error)}") from None


def put_weights(
    vae: VAE, tensors: Mapping[str, Tensor], ties: Sequence[Sequence[weights.Tied]] = ()
) -> None:
    """Give a model its weights, an offset that training began at included.

    Args:
        vae: The model; of a saved run one that is made anew.
        tensors: Its state.
        ties: Which weights share memory where the model's own making does not say.

    Raises:
        RuntimeError: If they are another model's.
    """
    device = next(vae.parameters()).device
    for name in tensors:
        owner, _, last = name.rpartition(".")
        if last == "offset" and owner.startswith("likelihood"):
            with suppress(AttributeError):  # of another model, which is told below
                head = vae.get_submodule(owner)
                if head.offset is None:
                    head.offset = torch.zeros(head.numbers, device=device)
    weights.put(vae, tensors)
    if ties:
        weights.tie(vae, ties)
        weights.put(vae, tensors)
