"""Options that several commands share, and what they are turned into."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from torch import Tensor

    from pyro_vae.data import Data
    from pyro_vae.heads import Head
    from pyro_vae.vae import VAE

__all__ = [
    "HEAD_OPTIONS",
    "as_json",
    "data_options",
    "echo_json",
    "head_of",
    "load_data",
    "load_run",
    "observation_options",
    "own_head",
    "parameter_options",
    "png_option",
]

F = TypeVar("F", bound=Callable[..., Any])

HEAD_OPTIONS = (
    "obs",
    "sigma",
    "sigma_per",
    "param",
    "binarise",
    "interval",
    "scale_with_range",
)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")


def _all(*options: Callable[[Any], Any]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def _png(context: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    """A picture's path, checked before anything is computed for it."""
    if value is not None and value.suffix.lower() != ".png":
        raise click.BadParameter(f"must end in .png, got {str(value)!r}", context, parameter)
    if value is not None and not value.parent.is_dir():
        raise click.BadParameter(f"there is no folder {str(value.parent)!r}", context, parameter)
    return value


def png_option(*names: str, **extra: Any) -> Callable[[F], F]:
    """An option for the path of a picture to write."""
    kind = click.Path(path_type=Path, dir_okay=False)
    return click.option(*names, type=kind, callback=_png, metavar="FILE.png", **extra)


data_options = _all(
    click.option(
        "--data",
        metavar="NAME|FILE",
        help="Data set, see `pyro-vae data`; or a .npy or .npz file of images or vectors.",
    ),
    click.option("--data-root", type=click.Path(path_type=Path), help="Folder to look for it in."),
    click.option("--download", is_flag=True, help="Let torchvision fetch it if it is not at hand."),
)

parameter_options = _all(
    click.option(
        "--sigma",
        metavar="X|from-data",
        help="Fixed scale: short for --param scale=X. 'from-data' is the standard deviation of the "
        "training data about each pixel's mean, with --sigma-per dataset or dimension.",
    ),
    click.option(
        "--sigma-per",
        metavar="SCOPE",
        help="Learn the scale per dataset, dimension, image or pixel: short for "
        "--param scale=SCOPE.",
    ),
    click.option(
        "--param",
        multiple=True,
        metavar="NAME=VALUE",
        help="A parameter: a number fixes it, a scope (dataset, dimension, image, pixel) learns "
        "it; ',floor=X' and ',link=NAME' may follow.",
    ),
    click.option(
        "--binarise",
        type=click.Choice(["stochastic", "threshold"]),
        help="Make pixels 0 or 1: at random with probability k/255, or at 1/2.",
    ),
    click.option(
        "--range",
        "interval",
        default="0,1",
        show_default=True,
        metavar="LOW,HIGH",
        help="Where black and white lie for the observation: 0,1 or -1,1 or 0,255 or standardised.",
    ),
    click.option(
        "--scale-with-range",
        is_flag=True,
        help="Count the scale, its floor and its default in units of the range's width.",
    ),
)

observation_options = _all(
    click.option(
        "--obs",
        default="normal-learned-sigma",
        show_default=True,
        metavar="NAME",
        help="Observation distribution p(x|z); see `pyro-vae obs`; or package.module:attribute, "
        "a pyro_vae.Head of your own.",
    ),
    parameter_options,
)


own_head = click.option(
    "--obs",
    metavar="MODULE:NAME",
    help="The head of your own that the run was trained with; no folder can name it by itself.",
)


def load_run(run: Path, obs: str | None) -> VAE:
    """The model of a run folder, with the user's own head where it was trained with one."""
    from pyro_vae import load, observations

    return load(run, None if obs is None else observations.resolve(obs))


def head_of(
    obs: str,
    sigma: str | None,
    sigma_per: str | None,
    param: tuple[str, ...],
    binarise: str | None,
    interval: str,
    scale_with_range: bool,
    images: Tensor | None = None,
) -> Head:
    """The head that the options describe, for the training images where they are known."""
    from pyro_vae import observations
    from pyro_vae.errors import InputError

    changes = dict(map(_parameter, param))
    scale = _scale(sigma, sigma_per)
    if scale is not None:
        changes["scale"] = scale
    levels = {"stochastic": "binary", "threshold": "threshold", None: None}[binarise]
    head = observations.resolve(obs) if ":" in obs else observations.get(obs)
    if levels is not None and head.levels != "grey":
        raise InputError(f"--binarise suits an observation of 0 and 1 as bernoulli, not {obs}")
    return head.replace(levels, _interval(interval, images), scale_with_range, **changes)


def _scale(sigma: str | None, per: str | None) -> Any:
    """What --sigma and --sigma-per say of the parameter ``scale``."""
    from pyro_vae.errors import InputError
    from pyro_vae.heads import Param

    if sigma == "from-data":
        return Param(per or "dataset", source="data")
    if sigma is None:
        return per
    if per is not None:
        raise InputError("--sigma fixes the scale, --sigma-per learns it: give one of them")
    try:
        value = float(sigma)
    except ValueError:
        raise InputError(f"--sigma must be a number or 'from-data', got {sigma!r}") from None
    if not value > 0:
        raise InputError(f"--sigma must be positive, got {sigma}")
    return value


def _interval(text: str, images: Tensor | None) -> tuple[float, float]:
    """``low,high``, or where 0 and 1 go when pixels are ``standardised``."""
    from pyro_vae.errors import InputError

    if text == "standardised":
        if images is None:
            return 0.0, 1.0
        if images.is_floating_point():
            raise InputError("--range standardised takes 8-bit images, these are floats")
        grey = images.float() / 255
        mean, deviation = float(grey.mean()), float(grey.std())
        return -mean / deviation, (1 - mean) / deviation
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        raise InputError(
            f"--range must be LOW,HIGH (as 0,1 or -1,1 or 0,255) or standardised, got {text!r}"
        ) from None
    return low, high


def _parameter(text: str) -> tuple[str, Any]:
    """``name=value[,floor=x][,link=name]`` as a name and a Param."""
    from pyro_vae.errors import InputError, unknown
    from pyro_vae.heads import SCOPES, Param

    name, equals, rest = text.partition("=")
    if not equals or not name or not rest:
        raise InputError(f"--param must read NAME=VALUE, got {text!r}")
    value, *extras = rest.split(",")
    fields: dict[str, Any] = {"scope": value if value in SCOPES else _number(value, text)}
    for extra in extras:
        key, _, given = extra.partition("=")
        if key not in ("floor", "link"):
            raise unknown("field of --param", key, ("floor", "link"))
        fields[key] = given if key == "link" else _number(given, text)
    return name, Param(**fields)


def _number(value: str, text: str) -> float:
    from pyro_vae.errors import unknown
    from pyro_vae.heads import SCOPES

    try:
        return float(value)
    except ValueError:
        raise unknown(f"scope or number in --param {text}:", value, SCOPES) from None


def load_data(
    name: str | None, root: Path | None, download: bool, config: dict[str, Any] | None = None
) -> tuple[Data, dict[str, Any]]:
    """The data set that was asked for, or the one that a run was trained on.

    Returns:
        The data, and how to find them again.
    """
    from pyro_vae.data import load
    from pyro_vae.errors import InputError

    described = (config or {}).get("data") or {}
    if name is None and config is not None and not described:
        raise InputError("the run was trained on arrays from a script: name a data set by --data")
    if name is not None and Path(name).is_file():
        name = str(Path(name).resolve())
    name = name or described.get("name") or "mnist-5k"
    root = root or (Path(described["root"]) if described.get("root") else None)
    return load(name, root, download), {"name": name, "root": str(root) if root else None}


def echo_json(value: Any) -> None:
    """Print JSON on stdout."""
    click.echo(json.dumps(value, indent=2, default=str))


def plain() -> bool:
    """Whether output should have no colours."""
    return "NO_COLOR" in os.environ
