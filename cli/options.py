"""Options that several commands share, and what they are turned into."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from torch import Tensor

    from pyro_vae.data import Data
    from pyro_vae.heads import Head
    from pyro_vae.vae import VAE

__all__ = [
    "COUNT",
    "HEAD_OPTIONS",
    "PROCESSES",
    "SEED",
    "absolute",
    "as_json",
    "check_kind",
    "column_option",
    "data_options",
    "echo_json",
    "echo_wrapped",
    "head_of",
    "load_data",
    "load_run",
    "observation_options",
    "own_of",
    "own_parts",
    "parameter_options",
    "png_option",
    "replace_option",
    "size_options",
    "tell_changed",
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

COUNT = click.IntRange(1, 2**31 - 1)
"""How many of something, no more than 64 bits can reckon with."""
PROCESSES = click.IntRange(1, 1024)
SEED = click.IntRange(0, 2**32 - 1)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")


def _all(*options: Callable[[Any], Any]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def _png(context: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    """A picture's path, checked before anything is computed for it."""
    ends = [end for end in (".png", ".csv") if end in str(parameter.metavar)]
    if value is not None and value.suffix.lower() not in ends:
        raise click.BadParameter(
            f"must end in {' or '.join(ends)}, got {str(value)!r}", context, parameter
        )
    if value is not None and not value.parent.is_dir():
        raise click.BadParameter(f"there is no folder {str(value.parent)!r}", context, parameter)
    return value


def png_option(*names: str, metavar: str = "FILE.png", **extra: Any) -> Callable[[F], F]:
    """An option for the path of a picture to write; ``FILE.png|FILE.csv`` for rows, too."""
    kind = click.Path(path_type=Path, dir_okay=False)
    return click.option(*names, type=kind, callback=_png, metavar=metavar, **extra)


replace_option = click.option(
    "--overwrite", is_flag=True, help="Replace a file that pyro-vae did not draw."
)

data_options = _all(
    click.option(
        "--data",
        metavar="NAME|FILE|FOLDER",
        help="Data set, see `pyro-vae data`; a .npy or .npz file of images or vectors; a folder "
        "of images, FOLDER/CLASS/*.png or FOLDER/*.png, perhaps in FOLDER/train, val and test; "
        "or .tar shards of images, 'shards-{000..009}.tar'; or a .csv table.",
    ),
    click.option("--data-root", type=click.Path(path_type=Path), help="Folder to look for it in."),
    click.option("--download", is_flag=True, help="Let torchvision fetch it if it is not at hand."),
)

column_option = click.option(
    "--column",
    multiple=True,
    metavar="NAME=OBS",
    help="Of a .csv table: what a column is (real, positive, count, binary, category), the "
    "observation that it has, or skip.",
)

size_options = _all(
    click.option(
        "--resize",
        type=COUNT,
        metavar="N",
        help="Of image files: scale the shorter side to N pixels.",
    ),
    click.option(
        "--crop",
        type=COUNT,
        metavar="N",
        help="Of image files: cut N x N pixels from the centre, after --resize.",
    ),
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


_KINDS = {"net": "network", "prior": "prior", "posterior": "posterior"}
_OWN = {"obs": "head", **_KINDS}

own_parts = _all(
    *(
        click.option(
            f"--{name}",
            metavar="MODULE:NAME",
            help=f"The {kind} of your own that the run was trained with; no folder can name it.",
        )
        for name, kind in _OWN.items()
    )
)


def own_of(options: Mapping[str, str | None]) -> dict[str, Any]:
    """The parts of a user's own that are at the paths of the options of ``own_parts``."""
    from pyro_vae import observations, specs
    from pyro_vae.training.recipe import PARTS

    own = {}
    for name in _OWN:
        if (path := options.get(name)) is not None:
            what, table = PARTS.get(name, (None, {}))
            own[name] = specs.resolve(what, path, table) if what else observations.resolve(path)
    return own


def load_run(run: Path, own: Mapping[str, str | None]) -> VAE:
    """The model of a run folder, with the parts of the user's own that it was trained with."""
    from pyro_vae import load

    return load(run, **own_of(own))


def head_of(obs: str, images: Tensor | None = None, **options: Any) -> Head:
    """The head that the options describe, for the training images where they are known."""
    from pyro_vae.observations import Words

    return Words(obs, range=options.pop("interval"), **options).head(images)


def load_data(
    name: str | None,
    root: Path | None,
    download: bool,
    config: dict[str, Any] | None = None,
    resize: int | None = None,
    crop: int | None = None,
) -> tuple[Data, dict[str, Any]]:
    """The data set that was asked for, or the one that a run was trained on.

    Image files come to the size that was asked for, else to that of the run's. What a run held out
    stays held out.

    Returns:
        The data; and how to find them again, with ``changed``, a line where they have changed
        since the run held some of them out, for :func:`tell_changed`.
    """
    from pyro_vae.data import conditioned, first, load, stock
    from pyro_vae.data.kept import as_kept
    from pyro_vae.errors import InputError

    described = (config or {}).get("data") or {}
    if name is None and config is not None and not described:
        raise InputError("the run was trained on arrays from a script: name a data set by --data")
    count = described.get("images") if name is None else None
    name = absolute(name) or described.get("name") or "mnist-5k"
    root = root or (Path(described["root"]) if described.get("root") else None)
    if stock.is_image_files(name):
        resize, crop = resize or described.get("resize"), crop or described.get("crop")
    check_kind(name, described)
    found, changed = load(name, root, download, resize, crop, described), None
    if config is not None:
        same = name == described.get("name")
        found, changed = as_kept(found, config, name, same)
        if same and stock.is_path(name) and "images" not in config:
            changed = (
                f"the run is of a version that did not keep which images of {name} were held out: "
                "if they have changed since, those scored may be ones that it was trained on"
            )
    rest = {"name": name, "root": str(root) if root else None, "changed": changed}
    return conditioned(first(found, count), described.get("condition")), rest


def check_kind(name: str, described: dict[str, Any]) -> None:
    """Refuse a table where a run is of images, and images where it is of a table.

    Raises:
        InputError: If the data are of another kind than the run's.
    """
    from pyro_vae.data.table import SUFFIX
    from pyro_vae.errors import InputError

    if described and ("columns" in described) != name.lower().endswith(SUFFIX):
        kind = f"a table: --data must be a {SUFFIX} file"
        kind = kind if "columns" in described else "images or vectors: --data must be such"
        raise InputError(f"the run is of {kind}, got {name}")


def tell_changed(described: dict[str, Any]) -> None:
    """Say on stderr that a run's data have changed; a mistake, which is one line, comes first."""
    if described["changed"] is not None:
        click.echo(described["changed"], err=True)


def absolute(name: str | None) -> str | None:
    """The name of a data set, or the full path of a file or folder, which holds from any folder."""
    from pyro_vae.data import stock

    return str(Path(name).resolve()) if name is not None and stock.is_path(name) else name


def echo_json(value: Any) -> None:
    """Print JSON on stdout."""
    click.echo(json.dumps(value, indent=2, default=str))


def echo_wrapped(text: str, first: str = "", rest: str = "") -> None:
    """Print text in lines of at most 80 columns; words, as of paths, stay whole.

    Args:
        text: The text.
        first: What its first line begins with.
        rest: What the others begin with.
    """
    lines = textwrap.wrap(
        text,
        80,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
    click.echo("\n".join(lines))
