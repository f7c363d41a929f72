"""Options that several commands share, and what they are turned into."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin

import click

from pyro_vae.config import OPTIONS, ObservationConfig, Option
from pyro_vae.config import declared as run_options

if TYPE_CHECKING:
    from pyro_vae.data.batch import Loaded
    from pyro_vae.heads import Head
    from pyro_vae.vae import VAE

__all__ = [
    "COUNT",
    "HEAD_OPTIONS",
    "PROCESSES",
    "SEED",
    "WRONG",
    "as_json",
    "column_option",
    "data_options",
    "declared",
    "echo_json",
    "echo_wrapped",
    "head_of",
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


def declared(*names: str) -> Callable[[F], F]:
    """Options of a run, as :mod:`pyro_vae.config` declares them; all where none is named."""
    # Without --data a command is of its run's data, and a new run of the default's.
    unsaid = {"data": None}
    options = (OPTIONS[name] for name in names or OPTIONS)
    return _all(*(_click(replace(o, default=unsaid.get(o.name, o.default))) for o in options))


def _click(option: Option) -> Callable[[F], F]:
    """The command line's form of a declared option."""
    kinds = get_args(option.kind) if get_origin(option.kind) is not tuple else (tuple,)
    kinds = kinds or (option.kind,)
    more: dict[str, Any] = {"help": option.help}
    if bool in kinds and option.off is not None:
        flags = f"--{option.flag}/--{option.off}"
        return click.option(flags, option.name, default=option.default, **more)
    if bool in kinds:
        return click.option(f"--{option.flag}", option.name, is_flag=True, **more)
    if option.default not in (None, ()):
        more |= {"default": option.default, "show_default": True}
    kind: Any = next((k for k in (int, float) if k in kinds), str)
    if option.read is not None:  # it takes texts of its own
        kind = str
    if option.path:
        kind = click.Path(path_type=Path)
    return click.option(
        f"--{option.flag}",
        *(f"--{other}" for other in option.others),
        option.name,
        type=kind,
        multiple=tuple in kinds or isinstance(option.default, tuple),
        metavar=option.metavar or (option.choices and "|".join(option.choices)),
        **more,
    )


WRONG = 3
"""Exit status where something is wrong with what was looked at."""

data_options = declared("data", "data_root", "download")
column_option = declared("column")
size_options = declared("resize", "crop")
HEAD_OPTIONS = tuple(run_options(ObservationConfig))
parameter_options = declared(*HEAD_OPTIONS[1:])
observation_options = declared(*HEAD_OPTIONS)

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
    from pyro_vae.training.run_config import PARTS

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


def head_of(obs: str, images: Loaded | None = None, **options: Any) -> Head:
    """The head that the options describe, for the training images where they are known."""
    from pyro_vae import observations

    return observations.head_of(ObservationConfig(obs, **options), images)


def tell_changed(described: dict[str, Any]) -> None:
    """Say on stderr that a run's data have changed; a mistake, which is one line, comes first."""
    if described["changed"] is not None:
        click.echo(described["changed"], err=True)


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
