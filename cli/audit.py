"""`pyro-vae audit`: what a loss function of one's own really is."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from .options import COUNT, echo_json
from .options import as_json as json_option

__all__ = ["audit"]


class _Mistake(click.ClickException):
    """A user's mistake: one line on stderr, exit status 2."""

    exit_code = 2


@click.command()
@click.argument("target", metavar="FILE.py:FUNCTION")
@click.option(
    "--data-shape",
    default="1,28,28",
    show_default=True,
    metavar="C,H,W",
    help="Shape of one image, channels first, or length of one vector.",
)
@click.option(
    "--latent-dim",
    default=20,
    show_default=True,
    type=COUNT,
    help="Length of z to probe with.",
)
@click.option(
    "--batch-size",
    default=128,
    show_default=True,
    type=COUNT,
    help="Images per batch that the loss is used with.",
)
@click.option(
    "--sample-fn", metavar="NAME", help="Audit this function (mean, log_var) -> sample too."
)
@json_option
def audit(
    target: str,
    data_shape: str,
    latent_dim: int,
    batch_size: int,
    sample_fn: str | None,
    as_json: bool,
) -> None:
    """Say what the loss FUNCTION in FILE.py really is, and how to put it right.

    FUNCTION takes (x, x_hat, mean, log_var), by position or by the usual names, and returns the
    loss, or the loss with its parts. It is probed with numbers and gradients: the report names its
    reconstruction term, how each term is reduced, the effective beta, and mistakes.

    FILE.py is imported and FUNCTION is called: this runs code with your rights.
    """  # fmt: skip
    shape = _shape(data_shape)
    path, name = _split(target)
    # What the user's code prints must not mix with the report.
    with contextlib.redirect_stdout(sys.stderr):
        module = _load(path)
        loss = _attribute(module, name, "FILE.py:FUNCTION")
        sampler = None if sample_fn is None else _attribute(module, sample_fn, "--sample-fn")
        from pyro_vae.diagnosis import audit as run

        try:
            report = run(
                loss, data_shape=shape, latent_dim=latent_dim, batch_size=batch_size,
                sample_fn=sampler,
            )  # fmt: skip
        except (ValueError, TypeError) as error:
            raise _Mistake(str(error)) from None
    if as_json:
        echo_json(report.to_dict())
    else:
        click.echo(str(report))


def _shape(text: str) -> tuple[int, ...]:
    parts = text.replace("x", ",").split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise _Mistake(f"--data-shape {text!r}: positive numbers like 1,28,28 or 784 are accepted")
    return tuple(int(part) for part in parts)


def _split(target: str) -> tuple[Path, str]:
    file, _, name = target.rpartition(":")
    if not file.endswith(".py") or not name:
        example = f"{target}:loss" if target.endswith(".py") else "losses.py:vae_loss"
        raise _Mistake(f"{target!r}: FILE.py:FUNCTION is accepted, as in {example}")
    path = Path(file)
    if not path.is_file():
        raise _Mistake(f"{file!r}: there is no such file")
    return path.resolve(), name


def _load(path: Path) -> ModuleType:
    """Import a file with its own folder on the path; a failure names the line it came from."""
    name = f"audited_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise _Mistake(f"{path} cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise _Mistake(_place(path, error)) from None
    finally:
        sys.path.remove(str(path.parent))
        del sys.modules[name]
    return module


def _place(path: Path, error: BaseException) -> str:
    message = " ".join(f"{type(error).__name__}: {error}".split())
    if isinstance(error, SyntaxError):
        return f"{error.filename or path}, line {error.lineno}: {message}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).parent == path.parent]
    line = f", line {own[-1].lineno}" if own else ""
    return f"{own[-1].filename if own else path}{line}: {message}"


def _attribute(module: ModuleType, name: str, option: str) -> Callable[..., Any]:
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        functions = sorted(
            key for key, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", None) == module.__name__
        )  # fmt: skip
        choice = ", ".join(functions) or "none"
        raise _Mistake(f"{option} {name!r} is no function of the file; it has: {choice}")
    return found  # type: ignore[no-any-return]
