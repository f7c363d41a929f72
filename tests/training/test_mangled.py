"""Descriptions of runs that were tampered with: one line each, and nothing is written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyro_vae import VAE, InputError, load, networks, save
from pyro_vae.training import formats
from pyro_vae.training.runs import read_config

from .formats import FIXTURES, contents


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(
        VAE((4,), (3, 2), "normal", networks.Ladder(4)), tmp_path_factory.mktemp("two") / "run"
    )


def _site(number: int, **parts: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda vae: vae["sites"][number].update(parts)


MANGLED: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no sites": lambda vae: vae.pop("sites"),
    "sites of null": lambda vae: vae.update(sites=None),
    "sites in a table": lambda vae: vae.update(sites={"latent": vae["sites"][0]}),
    "sites in words": lambda vae: vae.update(sites="latent, obs"),
    "an empty list": lambda vae: vae.update(sites=[]),
    "a site that is a number": lambda vae: vae["sites"].append(5),
    "a site that is null": lambda vae: vae["sites"].insert(0, None),
    "a site that is a list": lambda vae: vae["sites"].__setitem__(0, [1]),
    "a site without a name": lambda vae: vae["sites"][0].pop("site"),
    "a site with a number for a name": _site(1, site=2),
    "a site with a table for a name": _site(1, site={"a": 1}),
    "a site of an unknown name": _site(2, site="seen"),
    "a name with a line's end": _site(2, site="a\nb"),
    "such a name and nothing else": lambda vae: vae["sites"].__setitem__(2, {"site": "a\nb" * 99}),
    "an observed site with half a name": _site(2, site="obs."),
    "an observed site twice": lambda vae: vae["sites"].append(vae["sites"][2]),
    "a latent site twice": _site(1, site="latent.1"),
    "latent sites that skip one": _site(1, site="latent.3"),
    "latent and latent.2": _site(0, site="latent"),
    "one of a hierarchy": lambda vae: vae["sites"].pop(1),
    "sites upside down": lambda vae: vae["sites"].reverse(),
    "an observed site first": lambda vae: vae["sites"].insert(0, vae["sites"].pop()),
    "no observed site": lambda vae: vae["sites"].pop(),
    "no latent site": lambda vae: vae["sites"].__delitem__(slice(2)),
    "obs beside obs.b": lambda vae: vae["sites"].append({**vae["sites"][2], "site": "obs.b"}),
    "a part that nothing knows": lambda vae: vae.update(evil=1),
    "a latent site's, too": _site(0, evil=1),
    "an observed site's, too": _site(2, **{"evil\nline": 1}),
    "a latent site with a shape": _site(0, shape=[3]),
    "an observed site with a length": _site(2, dim=3),
    "no length": lambda vae: vae["sites"][0].pop("dim"),
    "a length of 0": _site(0, dim=0),
    "a negative length": _site(0, dim=-1),
    "a length in words": _site(0, dim="3"),
    "a length of NaN": _site(0, dim=float("nan")),
    "a length that is true": _site(0, dim=True),
    "a list for a length": _site(0, dim=[3]),
    "no prior": lambda vae: vae["sites"][1].pop("prior"),
    "no posterior": lambda vae: vae["sites"][0].pop("posterior"),
    "a prior that is a number": _site(1, prior=3),
    "a prior that is a list": _site(1, prior=["mixture"]),
    "a prior without a name": _site(1, prior={"components": 2}),
    "no head": lambda vae: vae["sites"][2].pop("head"),
    "a head in words": _site(2, head="normal"),
    "a head that is a list": _site(2, head=[]),
    "a head without a name": _site(2, head={}),
    "no shape": lambda vae: vae["sites"][2].pop("shape"),
    "a shape that is a number": _site(2, shape=4),
    "a shape of nothing": _site(2, shape=[]),
    "a shape of words": _site(2, shape=["a"]),
    "a shape in words": _site(2, shape="44"),
    "a shape with a 0": _site(2, shape=[0, 4]),
    "a shape of halves": _site(2, shape=[0.5]),
    "no network": lambda vae: vae.pop("net"),
    "a network in words": lambda vae: vae.update(net="mlp"),
    "no covariates": lambda vae: vae.pop("covariates"),
    "covariates in words": lambda vae: vae.update(covariates="three"),
    "a negative number of covariates": lambda vae: vae.update(covariates=-1),
    "ties that are a number": lambda vae: vae.update(ties=5),
}


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"prior": {"name": "standard-normal"}}, "prior of latent.1 must be made of the latent"),
        ({"posterior": {"name": "full"}}, "model.safetensors is damaged or of another model"),
    ],
)
def test_what_no_weights_go_with_is_one_line(
    part: dict[str, Any], said: str, saved: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(saved, run)
    config = json.loads((run / "config.json").read_text())
    config["vae"]["sites"][0].update(part)
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=said) as caught:
        load(run)
    assert len(str(caught.value)) < len(str(run)) + 400


@pytest.mark.parametrize("read", [load, read_config])
@pytest.mark.parametrize("harm", MANGLED)
def test_a_mangled_description_is_one_line(
    harm: str, read: Callable[[Path], Any], saved: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(saved, run)
    assert load(run).latent_dims == (3, 2)
    config = json.loads((run / "config.json").read_text())
    MANGLED[harm](config["vae"])
    (run / "config.json").write_text(json.dumps(config))
    before = contents(run)
    with pytest.raises(InputError, match=r"config\.json is damaged: ") as caught:
        read(run)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < len(str(run)) + 250
    assert contents(run) == before


MANGLED_1: dict[str, Callable[[dict[str, Any]], Any]] = {
    **{
        f"no {part}": lambda vae, part=part: vae.pop(part)  # type: ignore[misc]
        for part in ("data_shape", "latent_dim", "obs", "net")
    },
    "an unknown part": lambda vae: vae.update(evil=1),
    "a part of format 2": lambda vae: vae.update(sites=[]),
    "no latents": lambda vae: vae.update(latent_dim=[]),
    "latents in words": lambda vae: vae.update(latent_dim="2"),
    "latents of NaN": lambda vae: vae.update(latent_dim=float("nan")),
    "no latent in a list": lambda vae: vae.update(latent_dim=[2, None]),
    "a negative shape": lambda vae: vae.update(data_shape=[1, -8]),
    "an unknown prior": lambda vae: vae.update(prior="nobody's"),
    "a prior of many words": lambda vae: vae.update(prior="mixture:9:9"),
    "a posterior that is a number": lambda vae: vae.update(posterior=1),
    "an observation in words": lambda vae: vae.update(obs="normal"),
}


@pytest.mark.parametrize("harm", MANGLED_1)
def test_a_mangled_run_of_format_1_is_one_line(harm: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(FIXTURES / "prior-mixture", run)
    config = json.loads((run / "config.json").read_text())
    MANGLED_1[harm](config["vae"])
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"config\.json is damaged: ") as caught:
        load(run)
    assert "\n" not in str(caught.value)


def test_a_number_beyond_all_sense_is_one_line(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"integer of 16,610 bits.*upgrade pyro_vae"):
        formats.upgraded({"format": 10**5000, "vae": {}}, "config.json")
    (tmp_path / "config.json").write_text('{"format": 1' + "0" * 5000 + "}")
    with pytest.raises(InputError, match="damaged"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (4, "has format 4, this version reads up to 3: upgrade pyro_vae"),
        (0, "no configuration"),
        (-1, "no configuration"),
        (True, "no configuration"),
        (1.0, "no configuration"),
        ("2", "no configuration"),
        (None, "no configuration"),
    ],
)
def test_a_format_that_is_none_is_refused(number: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        formats.upgraded({"format": number, "vae": {}}, "config.json")
