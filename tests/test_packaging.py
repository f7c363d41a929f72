"""What is in the wheel, and what its installation makes importable."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "build", "dist", "runs", "*.egg-info", ".*cache")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("wheel") / "source"
    shutil.copytree(ROOT, source, ignore=LEFT_OUT)
    words = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "."]
    subprocess.run(
        [sys.executable, *words, "--wheel-dir", str(source.parent)],
        cwd=source,
        check=True,
        capture_output=True,
    )
    (found,) = source.parent.glob("*.whl")
    return found


def test_the_wheel_holds_all_modules_the_digits_and_both_licences(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in (ROOT / "pyro_vae").rglob("*.py"):
        assert path.relative_to(ROOT).as_posix() in names
    for path in (ROOT / "cli").rglob("*.py"):
        assert "pyro_vae_cli/" + path.relative_to(ROOT / "cli").as_posix() in names
    assert {"pyro_vae/py.typed", "pyro_vae_cli/py.typed", "pyro_vae/data/mnist-5k.npz"} <= names
    licences = {name.rpartition("/")[2] for name in names if "/licenses/" in name}
    assert licences == {"LICENSE", "LICENSE-mnist-5k"}
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {
        "pyro_vae",
        "pyro_vae_cli",
    }


def test_the_metadata_name_the_licence_and_no_upper_bounds(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (name,) = [n for n in archive.namelist() if n.endswith("/METADATA")]
    metadata = archive.read(name).decode()
    assert "License-Expression: Apache-2.0 AND CC-BY-SA-3.0" in metadata
    assert "Requires-Python: >=3.11" in metadata
    required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist")]
    assert len(required) > 8
    assert not any("<" in line or "==" in line.split(";")[0] for line in required)


def test_an_installed_wheel_leaks_no_cli(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    words = ["install", "--quiet", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True, capture_output=True)
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def python(code: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-c", code]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True
        )

    # An editable install of this checkout must not be what is found.
    assert "ModuleNotFoundError" in python("import cli").stderr
    done = python("import pyro_vae, pyro_vae_cli; print(pyro_vae.__file__, pyro_vae_cli.__file__)")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [
        str(site / "pyro_vae/__init__.py"),
        str(site / "pyro_vae_cli/__init__.py"),
    ]
