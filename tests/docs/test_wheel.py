"""The wheel and the sdist are whole, and the wheel runs the tutorial without the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from .pages import ROOT, blocks_of

pytestmark = pytest.mark.slow

LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "build", "dist", "runs", "*.egg-info", ".*cache")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an sdist and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("release")
    shutil.copytree(ROOT, folder / "source", ignore=LEFT_OUT)
    words = ["-m", "build", "--no-isolation", "--outdir", str(folder / "dist")]
    _run([sys.executable, *words], folder / "source")
    return folder / "dist"


def _run(words: list[str], folder: Path, **environment: str) -> str:
    done = subprocess.run(
        words,
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def test_twine_finds_nothing_wrong(built: Path) -> None:
    files = [str(path) for path in built.iterdir()]
    assert len(files) == 2
    said = _run([sys.executable, "-m", "twine", "check", "--strict", *files], built)
    assert said.count("PASSED") == 2


def test_the_sdist_holds_what_the_wheel_is_made_of(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    (wheel,) = built.glob("*.whl")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "LICENSE", "LICENSE-mnist-5k", "setup.cfg", "pyproject.toml"} <= names
    for name in zipfile.ZipFile(wheel).namelist():
        if ".dist-info" not in name:
            assert name.replace("pyro_vae_cli/", "cli/") in names


def test_all_versions_are_one(built: Path) -> None:
    from importlib.metadata import version

    import pyro_vae

    (wheel,) = built.glob("*.whl")
    assert pyro_vae.__version__ == version("pyro_vae")
    declared = [
        line for line in (ROOT / "setup.cfg").read_text().splitlines() if "version =" in line
    ]
    assert f"version = {wheel.name.split('-')[1]}" in declared


@pytest.fixture(scope="module")
def python(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel; its requirements are those of the tests'."""
    folder = tmp_path_factory.mktemp("fresh")
    _run([sys.executable, "-m", "venv", "--without-pip", str(folder / "env")], folder)
    scripts = folder / "env" / ("Scripts" if os.name == "nt" else "bin")
    (wheel,) = built.glob("*.whl")
    target = _run(
        [str(scripts / "python"), "-c", "import site; print(site.getsitepackages()[-1])"], folder
    )
    site = Path(target.strip())
    words = ["install", "--quiet", "--no-deps", "--no-index", "--target", str(site), str(wheel)]
    _run([sys.executable, "-m", "pip", *words], folder)
    # What is required comes from the environment of the tests, but not its editable pyro_vae:
    # a path alone, unlike a site folder, has no .pth file read.
    torch = __import__("torch")
    (site / "requirements.pth").write_text(str(Path(torch.__file__).parent.parent) + "\n")
    return scripts / "python"


COMMAND = """
from pyro_vae_cli.main import main

def command(words):
    try:
        main(words, standalone_mode=False)
    except SystemExit as status:  # something is wrong with what was looked at
        assert status.code == 3, words
"""


def test_the_wheel_runs_the_tutorial(python: Path, tmp_path: Path) -> None:
    steps = [COMMAND]  # one process: importing torch takes seconds
    for block in blocks_of(ROOT / "docs/tutorial.md"):
        text = block.tested.replace("--epochs 20", "--epochs 1").replace(" --verify", "")
        if block.file is not None:
            (tmp_path / block.file).write_text(text, encoding="utf-8")
        elif block.language == "python":
            steps.append(text)
        elif block.language == "sh":
            lines = [line for line in text.splitlines() if line.startswith("pyro-vae ")]
            steps += [f"command({line.split()[1:]})" for line in lines]
    assert len(steps) > 8
    steps.append("import pyro_vae; print('ran', pyro_vae.__file__)")
    code = "\n".join(steps)
    said = _run([str(python), "-c", code], tmp_path, OMP_NUM_THREADS="1", PYTHONUTF8="1")
    (where,) = [line for line in said.splitlines() if line.startswith("ran ")]
    assert Path(where[4:]).is_relative_to(python.parent.parent)
