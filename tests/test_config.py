"""One declaration of an option, and objects where texts name them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result
from torch import Tensor

import pyro_vae as pv
from pyro_vae.config import OPTIONS, FitConfig, declared, option
from pyro_vae.objectives import Objective
from pyro_vae.training import read_config
from tests.docs.pages import ROOT

TINY: dict[str, Any] = {"images": 64, "hidden": 8, "latent_dim": 2, "epochs": 1, "batch_size": 32}


class Half(Objective):
    """Half of the reconstruction, and the KL."""

    def surrogate(self, model_trace: Any, guide_trace: Any) -> Tensor:
        p, q = model_trace.nodes, guide_trace.nodes
        kl = (q["latent"]["log_prob"] - p["latent"]["log_prob"]).sum()
        found: Tensor = kl - 0.5 * p["obs"]["log_prob"].sum()
        return found

    @property
    def spec(self) -> str:
        return "half"


def darker(image: Tensor) -> Tensor:
    return image // 2


def plain_steps(parameters: Any, lr: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=lr)


ADDED = """    epochs: int = option(60"""
LINE = """    half_life: int = option(7, "Epochs that something takes.", metavar="EPOCHS")
"""


def test_an_option_is_declared_in_one_place(tmp_path: Path) -> None:
    """One line in a copy of the package: command line, configuration, config.json, specs."""
    for room in ("pyro_vae", "cli"):
        copied = tmp_path / room.replace("cli", "pyro_vae_cli")
        for path in sorted((ROOT / room).rglob("*.*")):
            if path.is_file() and "__pycache__" not in path.parts:
                to = copied / path.relative_to(ROOT / room)
                to.parent.mkdir(parents=True, exist_ok=True)
                to.write_bytes(path.read_bytes())
    home = tmp_path / "pyro_vae" / "config" / "fit.py"
    source = home.read_text(encoding="utf-8")
    assert source.count(ADDED) == 1
    home.write_text(source.replace(ADDED, LINE + ADDED), encoding="utf-8")
    script = f"""
import json, pathlib
import pyro_vae, pyro_vae_cli.main
from click.testing import CliRunner
from pyro_vae.sweeps.spec import read_spec
assert pathlib.Path(pyro_vae.__file__).parent == pathlib.Path({str(tmp_path)!r}) / "pyro_vae"
run = CliRunner().invoke
main = pyro_vae_cli.main.main
words = "--images 64 --hidden 8 --epochs 1 --half-life 9 --out run".split()
done = run(main, ["fit", *words])
assert done.exit_code == 0, done.output
spec = read_spec({{"base": {{"half-life": 11}}, "grid": {{"beta": [1]}}}})
print(json.dumps([
    run(main, ["fit", "--help"]).output,
    pyro_vae.RunConfig.from_run("run").fit.half_life,
    json.loads(pathlib.Path("run/config.json").read_text())["fit"]["half_life"],
    spec.cells[0].config.fit.half_life,
    run(main, ["fit", "--half-life", "x"]).output,
]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    help_text, of_run, kept, of_spec, told = json.loads(done.stdout)
    assert re.search(
        r"--half-life EPOCHS +Epochs that something takes\.\s+\[default: 7\]", help_text
    )
    assert (of_run, kept, of_spec) == (9, 9, 11)
    assert "'x' is not a valid integer" in told


def test_every_option_is_on_the_command_line(cli: Callable[..., Result]) -> None:
    said = cli("fit", "--help").stdout
    flags = set(re.findall(r"--[a-z][a-z-]*", said))
    assert len(OPTIONS) > 45
    assert {f"--{each.flag}" for each in OPTIONS.values()} <= flags


def test_what_is_declared_is_the_field() -> None:
    @dataclass
    class Config:
        size: int = option(3, "Of it.", metavar="N", most=5)
        plain: int = 4

    found = declared(Config)
    assert [*found] == ["size"]
    assert (found["size"].kind, found["size"].default, found["size"].most) == (int, 3, 5)
    assert Config().size == 3


def test_a_file_gives_options_and_the_command_line_has_the_last_word(
    cli: Callable[..., Result], tmp_path: Path
) -> None:
    text = 'obs = "bernoulli"\nlatent-dim = 3\nepochs = 1\nimages = 64\nhidden = 8\nbeta = 2\n'
    (tmp_path / "run.toml").write_text(text + "param = []\n")
    done = cli("fit", "--config", tmp_path / "run.toml", "--beta", 3, "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    config = pv.RunConfig.from_run(tmp_path / "run")
    assert (config.observation.obs, config.latent_dim, config.fit.beta) == ("bernoulli", 3, "3")
    assert config == pv.RunConfig.of(**config.options)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epoch = 3", "unknown option 'epoch': did you mean 'epochs'?"),
        ("epochs = true", "epochs must be an integer, got True"),
        ("epochs =", "--config"),
        ("out = 'x'", "unknown option 'out'"),
    ],
)
def test_a_file_of_mistakes_is_told(
    mistake: Callable[..., str], tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "run.toml").write_text(text)
    assert said in mistake("fit", "--config", tmp_path / "run.toml", "--out", tmp_path / "run")


OBJECTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "objective": (
        {"objective": pv.objectives.ImportanceWeightedELBO(num_particles=3)},
        {"elbo": "iwae:3"},
    ),
    "optimiser": (
        {"optimizer": torch.optim.RMSprop, "lr": 1e-3},
        {"optimizer": "rmsprop", "lr": 1e-3},
    ),
    "schedule": (
        {"beta": pv.schedules.parse("linear:0,1,steps=2")},
        {"beta": "linear:0,1,steps=2"},
    ),
}


@pytest.mark.parametrize("kind", OBJECTS)
def test_an_object_trains_as_its_text_does(kind: str) -> None:
    images = pv.data.load("mnist-5k").train[:64]
    found = []
    for options in OBJECTS[kind]:
        torch.manual_seed(0)
        vae = pv.VAE((1, 28, 28), 2, "bernoulli", pv.networks.MLP(hidden=8))
        pv.fit(vae, images, epochs=1, batch_size=32, **options)
        found.append(vae.state_dict())
    one, other = found
    # A fused optimiser rounds other than one that is not.
    for key, value in one.items():
        torch.testing.assert_close(value, other[key], rtol=1e-4, atol=1e-6)


def test_objects_of_ones_own_train_and_are_kept_by_their_names(tmp_path: Path) -> None:
    images = pv.data.load("mnist-5k").train[:64]
    torch.manual_seed(0)
    vae = pv.VAE((1, 28, 28), 2, "bernoulli", pv.networks.MLP(hidden=8))
    options = {"objective": Half(), "optimizer": plain_steps, "augment": [darker]}
    history = pv.fit(vae, images, epochs=1, batch_size=64, lr=1e-9, out=tmp_path / "run", **options)
    kept = read_config(tmp_path / "run")["fit"]
    assert kept["elbo"] == f"{__name__}:Half"
    assert kept["optimizer"] == f"{__name__}:plain_steps"
    assert kept["augment"] == [f"{__name__}:darker"]
    (step,) = history.steps
    # What is minimised is half of the one and a draw of the other, whose mean is recorded; of the
    # whole reconstruction it were twice as much.
    assert step["loss"] == pytest.approx(step["kl"] - 0.5 * step["reconstruction"], abs=5)
    assert pv.load(tmp_path / "run").latent_dim == 2  # weights need none of them
    # A folder's text is no way to code.
    with pytest.raises(pv.InputError, match="of your own code"):
        FitConfig.of(**kept)


def test_a_path_on_the_command_line_is_an_object(
    cli: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    options = ("--images", 64, "--hidden", 8, "--epochs", 2, "--batch-size", 32)
    own = ("--objective", f"{__name__}:Half", "--optimizer", "torch.optim:Adagrad")
    run = tmp_path / "run"
    done = cli("fit", *options, *own, "--out", run, "--checkpoint", "1")
    assert done.exit_code == 0, done.output
    assert read_config(run)["fit"]["optimizer"] == "torch.optim.adagrad:Adagrad"
    assert read_config(run)["options"]["optimizer"] is None
    with pytest.raises(pv.InputError, match="elbo of your own: pass elbo="):
        pv.RunConfig.from_run(run)
    again = pv.RunConfig.from_run(run, elbo=f"{__name__}:Half", optimizer=torch.optim.Adagrad)
    assert (again.fit.epochs, type(again.fit.elbo)) == (2, Half)
    said = cli("fit", *options, "--elbo", "nowhere:Half", "--out", tmp_path / "other")
    assert said.exit_code == 2
    assert "does not import" in said.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"objective": 3.0}, "objective"),
        ({"objective": torch.nn.Linear(1, 1)}, "must be a text or a pyro_vae.objectives.Objective"),
        ({"optimizer": "adagrad"}, "unknown optimizer 'adagrad'"),
        ({"optimizer": lambda parameters, rate: None}, "optimizer takes"),
        ({"optimizer": lambda parameters, lr: None}, "must make a torch optimiser"),
        ({"augment": [3]}, "augment must be a list of texts or functions"),
        ({"augment": 3}, "augment must be a list of texts"),
        ({"beta": [1]}, "beta must be a number or text"),
    ],
)
def test_other_objects_are_refused(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    vae = pv.VAE((4,), 2, "normal", pv.networks.MLP(hidden=8))
    with pytest.raises(pv.InputError, match=said):
        pv.fit(vae, torch.rand(8, 4), epochs=1, out=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists() or not list((tmp_path / "run").iterdir())


def test_a_run_resumes_from_a_script(tmp_path: Path) -> None:
    class Stop(pv.training.Progress):
        def step(self, step: int) -> None:
            if step == 3:
                raise pv.training.Stopped

    config = pv.RunConfig.of(**{**TINY, "epochs": 2}, checkpoint="1")
    whole = config.run(tmp_path / "whole").vae.state_dict()
    with pytest.raises(pv.training.Stopped):
        config.run(tmp_path / "parts", progress=Stop())
    parts = pv.resume(tmp_path / "parts").vae.state_dict()
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    with pytest.raises(pv.InputError, match="is finished"):
        pv.resume(tmp_path / "whole")
    with pytest.raises(pv.InputError, match="options that the run began with: lr"):
        pv.resume(tmp_path / "whole", lr=1.0)
    pv.save(pv.VAE((4,), 2, "normal"), tmp_path / "script")
    with pytest.raises(pv.InputError, match="trained from a script"):
        pv.RunConfig.from_run(tmp_path / "script")


def test_former_names_are_told() -> None:
    with pytest.warns(DeprecationWarning, match="Recipe is pyro_vae.training.RunConfig"):
        assert pv.training.Recipe is pv.RunConfig
    with pytest.warns(DeprecationWarning, match="Settings is pyro_vae.config.FitConfig"):
        assert pv.training.Settings is FitConfig


SLOW = ("matplotlib", "scipy", "torchmetrics", "sklearn", "torchvision")


@pytest.mark.parametrize("then", ["pyro_vae", "pyro_vae.fit, pyro_vae.VAE", "pyro_vae.evaluate"])
def test_what_is_imported_only_where_it_is_used(then: str) -> None:
    script = f"import pyro_vae, sys; {then}; print(*(n for n in {SLOW} if n in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
    done = subprocess.run(
        [sys.executable, "-c", "import pyro_vae, sys; print('torch' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["False"]
