"""`pyro-vae audit`: what a loss function of one's own really is."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import io
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from .options import COUNT, WRONG, echo_json
from .options import as_json as json_option
from .pages import explained

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
    loss, or the loss with its parts; or it is a class of losses, or a method written CLASS.METHOD,
    whose object can be made without arguments. It is probed with numbers and gradients: the
    report names its reconstruction term, how each term is reduced, the effective beta, and
    mistakes.

    FILE.py is imported and FUNCTION is called: this runs code with your rights. Exit status: 0
    where nothing is wrong with it, 3 where something is, 2 where it could not be looked at.
    """  # fmt: skip
    shape = _shape(data_shape)
    path, name = _split(target)
    # What the user's code prints must not mix with the report.
    with contextlib.redirect_stdout(sys.stderr):
        module = _load(path)
        loss = _attribute(module, name, "FILE.py:FUNCTION")
        sampler = None if sample_fn is None else _attribute(module, sample_fn, "--sample-fn")
        from pyro_vae.loss_audit import audit as run

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
        click.echo(f"\n{explained('audit')}")
    if report.findings:
        raise SystemExit(WRONG)


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
    """Import a file, as part of its package if it is in one, with its own folder on the path.

    It sees its own name for a command line, and no options. A failure names the line it came from.
    """
    package, root = _package(path)
    name = f"{package}.{path.stem}" if package else f"audited_{path.stem}"
    known, arguments = set(sys.modules), sys.argv
    sys.path[:0] = [str(path.parent), str(root)]
    sys.argv = [str(path)]
    try:
        # Its usage, which an option parser prints before it exits, is no part of the one line.
        with contextlib.redirect_stderr(io.StringIO()):
            return importlib.import_module(name) if package else _alone(path, name)
    except (Exception, SystemExit) as error:
        raise _Mistake(_place(path, error)) from None
    finally:
        sys.argv = arguments
        for folder in (str(path.parent), str(root)):
            with contextlib.suppress(ValueError):
                sys.path.remove(folder)
        ours = package.split(".")[0] if package else name
        for key in set(sys.modules) - known:
            if key.split(".")[0] == ours:
                del sys.modules[key]


def _alone(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError("it cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _package(path: Path) -> tuple[str, Path]:
    """The package that a file belongs to, and the folder above the whole of it."""
    names: list[str] = []
    folder = path.parent
    while (folder / "__init__.py").is_file() and folder.name.isidentifier():
        names.insert(0, folder.name)
        folder = folder.parent
    return ".".join(names), folder


def _place(path: Path, error: BaseException) -> str:
    message = " ".join(f"{type(error).__name__}: {error}".split())
    if isinstance(error, SyntaxError):
        return f"{error.filename or path}, line {error.lineno}: {message}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).parent == path.parent]
    line = f", line {own[-1].lineno}" if own else ""
    hint = ""
    if isinstance(error, SystemExit):
        hint = (
            ". The file ends the program when it is imported, as scripts do that read a command "
            'line: put that under if __name__ == "__main__":, or copy the loss to a file of its own'
        )
    return f"{own[-1].filename if own else path}{line}: {message}{hint}"


def _attribute(module: ModuleType, name: str, option: str) -> Callable[..., Any]:
    found: Any = module
    for part in name.split("."):
        owner, found = found, getattr(found, part, None)
        if isinstance(owner, type) and _needs_self(owner, part):
            found = getattr(_made(owner), part)
    if not callable(found):
        functions = sorted(
            key for key, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", None) == module.__name__
        )  # fmt: skip
        choice = ", ".join(functions) or "none"
        raise _Mistake(f"{option} {name!r} is no function of the file; it has: {choice}")
    return found  # type: ignore[no-any-return]


def _needs_self(owner: type, name: str) -> bool:
    held = inspect.getattr_static(owner, name, None)
    return inspect.isfunction(held)


def _made(owner: type) -> Any:
    """An object to call a method of: made with defaults, or, where that fails, left empty."""
    try:
        return owner()
    except Exception:  # whatever other people's code raises
        empty: Any = object.__new__(owner)
        with contextlib.suppress(Exception):
            # A torch module without its own parts still takes attributes.
            importlib.import_module("torch").nn.Module.__init__(empty)
        return empty
