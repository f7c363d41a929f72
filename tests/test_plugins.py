"""A prior, a posterior, a network or a hierarchy of one's own is one file, used by every command.

Each is written into a temporary folder: once as a module of an installed package that declares an
entry point, once as a module of the working directory that is named by its path.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result

from pyro_vae import VAE, InputError, load, networks, priors, save
from pyro_vae.training import RunConfig, Stopped, read_config

from .plugin_parts import NETWORK, PARTS, POSTERIOR, PRIOR, held_to
from .training.stopping import StopAt

pytestmark = pytest.mark.usefixtures("no_pictures")

Run = Callable[..., Result]
Mistake = Callable[..., str]
TINY = ("--images", 64, "--epochs", 1, "--batch-size", 32, "--out", "run")


@pytest.fixture
def install(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Path]]:
    """Put a package of one module where Python finds it, with what it declares."""
    names = ("tiny_parts", "my_parts", "stranger", "ill")
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def put(source: str, group: str, *declared: str) -> Path:
        site = tmp_path_factory.mktemp("site")
        info = site / "tiny_parts-0.1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-parts\nVersion: 0.1\n")
        lines = (f"[pyro_vae.{group}]", *declared)
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        (site / "tiny_parts.py").write_text(source)
        monkeypatch.syspath_prepend(site)
        return site

    yield put
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture
def mine(install: Any, tmp_path: Path) -> Callable[[str], Path]:
    """Put a module into the working directory."""

    def put(source: str) -> Path:
        path = tmp_path / "my_parts.py"
        path.write_text(source)
        return path

    return put


def done(result: Result) -> Result:
    assert result.exit_code == 0, result.output
    return result


def of_part(config: Any, part: Any) -> Any:
    """What a configuration says of the networks, or of the topmost latent's prior or posterior."""
    vae = config["vae"]
    return vae["net"] if part.option == "net" else latent_sites(vae)[-1][part.option]


def latent_sites(vae: Any) -> list[Any]:
    return [site for site in vae["sites"] if "dim" in site]


@pytest.mark.parametrize("kind", PARTS)
def test_a_part_of_an_installed_package_is_one_file(kind: str, install: Any, cli: Run) -> None:
    part = PARTS[kind]
    site = install(part.source, part.group, f"tiny-part = tiny_parts:{part.attribute}")
    assert len(list(site.rglob("*.py"))) == 1
    latents = ("--latent-dim", part.latents)
    done(cli("fit", f"--{part.option}", "tiny-part:7", *latents, *TINY))
    said = of_part(read_config("run"), part)
    assert said["name"] == "tiny-part"
    assert said[part.field] == 7
    assert said.keys() - {"spread"} == {"name", part.field}
    assert "nats per image" in done(cli("evaluate", "run")).stdout
    vae = load("run")
    assert vae.latent_dims == tuple(map(int, part.latents.split(",")))
    held_to(part, vae, 7)
    held_to(part, VAE((1, 28, 28), vae.latent_dims, **{part.option: "tiny-part:9"}), 9)
    held_to(part, VAE((1, 28, 28), vae.latent_dims, **{part.option: said}), 7)


@pytest.mark.parametrize("kind", PARTS)
def test_a_part_by_its_path_is_one_file(kind: str, mine: Any, cli: Run, tmp_path: Path) -> None:
    part = PARTS[kind]
    mine(part.source)
    assert len(list(tmp_path.rglob("*.py"))) == 1
    named = (f"--{part.option}", f"my_parts:{part.attribute}:7")
    done(cli("fit", *named, "--latent-dim", part.latents, *TINY))
    config = (tmp_path / "run" / "config.json").read_text()
    assert of_part(json.loads(config), part) is None
    assert "my_parts" not in config
    refused = cli("evaluate", "run")
    assert refused.exit_code == 2
    words = f"with {part.option} of your own: pass {part.option}= (--{part.option} PACKAGE"
    assert words in refused.stderr
    assert "nats per image" in done(cli("evaluate", "run", *named)).stdout
    made = getattr(sys.modules["my_parts"], part.attribute)(7)
    held_to(part, load("run", **{part.option: made}), 7)


def test_every_command_takes_parts_of_ones_own(mine: Any, cli: Run) -> None:
    mine(PRIOR + POSTERIOR + NETWORK)
    own = ("--prior", "my_parts:fixed", "--posterior", "my_parts:Peaked", "--net", "my_parts:plain")
    done(cli("fit", *own, "--latent-dim", 2, *TINY))
    for words in (("sample",), ("reconstruct",), ("evaluate", "--iwae", 4)):
        done(cli(words[0], "run", *words[1:], *own))
    assert cli("diagnose", "run", *own).exit_code == 3  # it is a hundredth of a training
    brought = RunConfig.of(prior=own[1], posterior=own[3], net=own[5]).own()
    assert brought.keys() == {"prior", "posterior", "net"}
    assert load("run", **brought).prior_spec is None


def test_a_run_that_was_cut_short_goes_on_with_its_parts(mine: Any, cli: Run) -> None:
    mine(PRIOR)
    words = {"prior": "my_parts:Tailed", "latent_dim": 2}
    recipe = RunConfig.of(**words, images=64, epochs=2, batch_size=32, checkpoint="1")
    whole = recipe.run("whole").vae.state_dict()
    with pytest.raises(Stopped):
        recipe.run("cut", progress=StopAt(3))
    assert "pass prior= (--prior" in cli("fit", "--resume", "cut").stderr
    said = cli("fit", "--resume", "cut", "--prior", "vamp").stderr
    assert "a path must read package.module:attribute" in said
    done(cli("fit", "--resume", "cut", "--prior", "my_parts:Tailed"))
    found = load("cut", prior=sys.modules["my_parts"].Tailed()).state_dict()
    assert all(torch.equal(value, found[name]) for name, value in whole.items())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("--prior", "tiny-tale"),
            "did you mean 'tiny-tail'.*tiny-tail, vamp:N",
        ),
        (("--prior", "vmap:3"), "unknown prior 'vmap': did you mean 'vamp'"),
        (("--prior", "tiny-tail:0"), "tiny-tail takes a positive integer, as in tiny-tail:5"),
        (("--prior", "tiny-none"), "tiny-none' of tiny_parts:missing: AttributeError"),
        (("--prior", "tiny-number"), "'tiny_parts:number' is of type int, not callable"),
        (("--posterior", "my_partz:Peaked"), "posterior 'my_partz:Peaked': 'my_partz' does not im"),
        (("--prior", "my_parts:tailed"), "no attribute 'tailed'"),
        (("--prior", "my_parts:"), "a path must read package.module:attribute"),
        (("--prior", ":Tailed"), "a path must read package.module:attribute"),
        (("--prior", "my_parts:nothing"), "is of type NoneType, not callable"),
        (("--net", "my_parts:number"), "network 'my_parts:number' is of type int, not callable"),
        (("--prior", "my_parts:Inert"), "of instances that are not callable"),
        (("--prior", "my_parts:Tailed:x"), "takes a positive integer, as in my_parts:Tailed:5"),
        (("--prior", "my_parts:broken:3"), "prior 'my_parts:broken' takes no number"),
        (("--prior", "my_parts:broken"), "--prior my_parts:broken: AttributeError"),
        (("--prior", "my_parts:wide"), r"p\(z\) is of shape \(21,\), not \(20,\)"),
        (("--prior", "ill:Tailed"), "'ill' does not import: ZeroDivisionError"),
        (("--net", "cnn"), "unknown network 'cnn': did you mean 'conv'"),
        (("--net", "my_parts:Tailed", "--depth", 2), "--depth: network .* has df, spread"),
        (("--net", "my_parts:broken", "--hidden", 2), "--hidden: network .* has no fields"),
        (("--net", "mlp:8", "--hidden", 2), "--hidden: 'mlp:8' says it already"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_mistakes(
    words: tuple[object, ...],
    said: str,
    mine: Any,
    install: Any,
    mistake: Mistake,
    tmp_path: Path,
) -> None:
    declared = (
        "tail = tiny_parts:Tailed",
        "none = tiny_parts:missing",
        "number = tiny_parts:number",
    )
    install(PRIOR, "priors", *(f"tiny-{line}" for line in declared))
    mine(PRIOR)
    (tmp_path / "ill.py").write_text("1/0\n")
    assert re.search(said, mistake("fit", *words, "--images", 64, "--epochs", 1))


def test_a_stock_name_stays_what_it_is(install: Any) -> None:
    install(PRIOR, "priors", "vamp = tiny_parts:Tailed")
    assert type(priors.make("vamp:3", 2, (4,))).__name__ == "_Vamp"
    assert priors.spec("vamp:3") == {"name": "vamp", "components": 3}
    assert "tiny_parts" not in sys.modules


@pytest.mark.parametrize("told", ["stranger:head", {"name": "stranger:head"}], ids=str)
@pytest.mark.parametrize("part", ["prior", "posterior", "net"])
def test_a_folder_names_no_code(part: str, told: Any, install: Any, cli: Run) -> None:
    Path("stranger.py").write_text("open('executed', 'w')\nhead = None\n")
    save(VAE((1, 28, 28), 2, net=networks.MLP(hidden=4)), "run", data={"name": "mnist-5k"})
    config = json.loads(Path("run/config.json").read_text())
    (config["vae"] if part == "net" else latent_sites(config["vae"])[0])[part] = told
    Path("run/config.json").write_text(json.dumps(config))
    result = cli("sample", "run")
    assert result.exit_code == 2
    assert "unknown" in result.stderr or "config.json is damaged" in result.stderr
    with pytest.raises(InputError, match="unknown"):
        VAE((1, 28, 28), 2, **{part: "stranger:head"})
    assert not Path("executed").exists()
    assert "stranger" not in sys.modules


@pytest.mark.parametrize(
    ("text", "described"),
    [
        ("tiny-plain", {"name": "tiny-plain"}),
        ("tiny-four", {"name": "tiny-four", "width": 4}),
        ("tiny-four:6", {"name": "tiny-four", "width": 6}),
    ],
)
def test_functions_and_instances_can_be_declared(
    text: str, described: dict[str, Any], install: Any, tmp_path: Path
) -> None:
    declared = ("tiny-plain = tiny_parts:plain", "tiny-four = tiny_parts:four")
    install(NETWORK + "\n\nfour = Bent(4)\n", "networks", *declared)
    vae = VAE((1, 28, 28), 2, net=text)
    save(vae, tmp_path / "run")
    assert load(tmp_path / "run").net == vae.net == described


def test_a_network_is_given_what_was_asked_for_only(mine: Any, cli: Run) -> None:
    mine(NETWORK.replace("width: int = 16", "width: int = 16\n    dropout: float = 0.1"))
    cli("--help")
    made = {
        rate: RunConfig.of(net="my_parts:Bent", dropout=rate).parts()["net"].dropout
        for rate in (None, 0.0, 0.1, 0.3)
    }
    assert made == {None: 0.1, 0.0: 0.0, 0.1: 0.1, 0.3: 0.3}
    marks = [RunConfig.of(net="my_parts:Bent", dropout=r).fingerprint for r in made]
    assert marks[0] == marks[2]
    assert len(set(marks)) == 3
    # 0 was the default of stock networks' option: what was trained then is found again.
    assert RunConfig.of(dropout=0.0).fingerprint == RunConfig.of().fingerprint
    assert RunConfig.of(net="mlp:8").parts()["net"] == networks.MLP(8)
