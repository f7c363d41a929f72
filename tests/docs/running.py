"""Blocks are run: Python in one namespace a page, commands in this process and one folder."""

from __future__ import annotations

import contextlib
import doctest
import io
import json
import re
import runpy
import shlex
import shutil
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from unittest import mock

from click.testing import CliRunner

from .pages import ROOT, Block

__all__ = ["Runner", "agrees"]

INSTALLS = ("python3 -m venv", "pip install")
"""Commands that a run of the tests presupposes."""

NUMBER = re.compile(r"(?<![A-Za-z_])[-+−–]?(\d[\d,]*(\.\d*)?|\.\d+)(e[-+]?\d+)?")


def agrees(said: str, printed: str) -> bool:
    """Whether a page's output is in what was printed: ``...`` is anything, numbers any numbers."""
    pattern = re.escape(_plain(said)).replace(r"\.\.\.", ".*")
    return re.search(pattern, _plain(printed), re.DOTALL) is not None


def _plain(text: str) -> str:
    return " ".join(NUMBER.sub("#", text).split())


class Runner:
    """Runs a page's blocks in their order.

    Args:
        folder: The current folder, where the repository's ``experiments`` lie too.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: dict[str, Any] = {"__name__": "page"}
        shutil.copytree(ROOT / "experiments", folder / "experiments", dirs_exist_ok=True)

    def __call__(self, block: Block) -> None:
        """Run a block.

        Raises:
            AssertionError: If a command ends with another status or an output is another.
            ValueError: If it is in a language that nothing here runs.
        """
        if block.excuse is not None or block.language.startswith("{"):
            return  # the directives of a page are run by the build of the site
        text = block.tested
        if block.file is not None:
            path = self.folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            return
        run = {
            "python": self._python,
            "pycon": self._console,
            "sh": self._commands,
            "toml": tomllib.loads,
            "json": json.loads,
        }.get(block.language)
        if run is None:
            raise ValueError(f"{block.where}: nothing runs {block.language!r}, and no excuse")
        printed = self._commands(text, block.status) if block.language == "sh" else run(text)
        if block.output is not None:
            assert agrees(block.output, printed or ""), f"{block.where} prints\n{printed}"

    def _python(self, text: str) -> str:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(text, "page", "exec"), self.names)
        return out.getvalue()

    def _console(self, text: str) -> str:
        test = doctest.DocTestParser().get_doctest(text, self.names, "page", None, 0)
        out = io.StringIO()
        failed = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(
            test, out=out.write, clear_globs=False
        )
        self.names.update(test.globs)
        assert not failed.failed, out.getvalue()
        return ""

    def _commands(self, text: str, status: int = 0) -> str:
        """Run the commands, of which the last one ends with the status."""
        lines = text.replace("\\\n", " ").splitlines()
        words = [shlex.split(line, comments=True) for line in lines]
        commands = [each for each in words if each]
        printed = []
        for number, command in enumerate(commands, 1):
            code, out = self._command(command)
            wanted = status if number == len(commands) else 0
            # That something is wrong with what was looked at is no failure of looking.
            assert code in {wanted, 3 if wanted == 0 else wanted}, (
                f"{shlex.join(command)} exits with {code}\n{out}"
            )
            printed.append(out)
        return "".join(printed)

    def _command(self, words: list[str]) -> tuple[int, str]:
        if shlex.join(words).removeprefix(".venv/bin/").startswith(INSTALLS):
            return 0, ""
        target = None
        if len(words) > 2 and words[-2] == ">":
            *words, _, target = words
        program, *arguments = words
        if Path(program).name == "pyro-vae":
            code, out, both = self._pyro_vae(arguments)
        elif Path(program).name == "python" and arguments[0] == "-m":
            code, out, both = self._module(arguments[1], arguments[2:])
        else:
            raise ValueError(f"nothing runs {program!r}, and no excuse")
        if target is not None:
            (self.folder / target).write_text(out, encoding="utf-8")
        return code, both

    def _pyro_vae(self, arguments: list[str]) -> tuple[int, str, str]:
        (point,) = entry_points(group="console_scripts", name="pyro-vae")
        result = CliRunner().invoke(point.load(), arguments)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout, result.output

    def _module(self, name: str, arguments: list[str]) -> tuple[int, str, str]:
        out, code = io.StringIO(), 0
        with (
            mock.patch.object(sys, "argv", [name, *arguments]),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(out),
        ):
            try:
                runpy.run_module(name, run_name="__main__")
            except SystemExit as exit:
                code = exit.code if isinstance(exit.code, int) else int(exit.code is not None)
        return code, out.getvalue(), out.getvalue()
