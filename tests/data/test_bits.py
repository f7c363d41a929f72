"""Bits drawn once: numpy's own, validation first, the same wherever the images lie."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch

import pyro_vae as pv
from pyro_vae import InputError, data
from pyro_vae.data import stored
from pyro_vae.data.bits import binarised
from pyro_vae.training import RunConfig
from pyro_vae.training.run_data import load_data

from .parted import SMALL, TINY, Run, as_array, parted_file

pytestmark = pytest.mark.usefixtures("no_pictures")


def bits_by_hand(images: np.ndarray, generator: np.random.RandomState) -> np.ndarray:
    """One number after the other, as numpy's legacy generator gives them."""
    drawn = [generator.binomial(1, level / 255) for level in images.reshape(-1).tolist()]
    return np.array(drawn, np.uint8).reshape(images.shape)


def test_bits_are_those_of_numpy_validation_first(cli: Run, tmp_path: Path) -> None:
    path = parted_file(tmp_path)
    with np.load(path) as archive:
        train, test = archive["train"], archive["test"]
    generator = np.random.RandomState(777)
    wanted = {"validation": bits_by_hand(train[-15:], generator)}
    wanted["test"] = bits_by_hand(test, generator)
    said = cli(
        *("fit", "--data", path, "--validation", "last:15", "--obs", "bernoulli"),
        *("--binarise", "fixed:777", "--out", "run", *SMALL),
    )
    assert said.exit_code == 0, said.output
    config = pv.training.read_config(tmp_path / "run")
    told = json.loads(cli("evaluate", "run", "--json").stdout)
    found, described = load_data(None, None, False, config)
    assert told["binarised"] == config["data"]["binarised"] == described["binarised"]
    assert told["binarised"]["seed"] == 777
    lines = "".join(cli("evaluate", "run").stdout.splitlines())
    for part, bits in wanted.items():
        digest, total = hashlib.sha256(bits.tobytes()).hexdigest(), int(bits.sum())
        grey = {"validation": train[-15:], "test": test}[part] / 255
        score = scipy.stats.bernoulli.logpmf(bits, grey).sum() / len(bits)
        found_grey = told["binarised"][part].pop("grey")
        assert found_grey == pytest.approx(score, rel=1e-12)
        assert told["binarised"][part] == {"images": len(bits), "sum": total, "sha256": digest}
        if part == "test":
            assert f"  the grey images       {score:10.2f} nats per image on their bits" in lines
        assert np.array_equal(getattr(found, part).numpy()[:, 0], bits * 255)
        line = f"{part} sum {total:,}, SHA-256 {digest}"
        assert line in said.stderr
        assert line in lines
    assert np.array_equal(found.train.numpy()[:, 0], train[:-15])
    assert told["kind"] == "mass"
    vae = pv.load(tmp_path / "run")
    bits = torch.from_numpy(wanted["test"])[:, None]
    assert torch.equal(vae.observe(found.test), bits.float())
    assert told["elbo"] == pv.evaluate(vae, bits * 255, parts=())["elbo"]


def test_training_images_are_binarised_anew_in_every_batch(tmp_path: Path) -> None:
    """Both ways train on the same noise: with fixed bits only what is held out is another."""
    path, weights = parted_file(tmp_path), []
    for way in ("stochastic", "fixed:5"):
        options = {**TINY, "epochs": 3, "obs": "bernoulli", "binarise": way}
        weights.append(RunConfig.of(data=path, **options).run().vae.state_dict())
    assert len(weights[0]) > 3
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name


def test_the_first_images_have_the_bits_that_they_have_among_all(tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "data": parted_file(tmp_path),
        "validation": "last:10",
        "obs": "bernoulli",
        "binarise": "fixed:3",
    }
    whole, few = (RunConfig.of(**options, images=count).load() for count in (None, 4))
    assert torch.equal(few.validation, whole.validation[:4])
    assert torch.equal(few.test, whole.test[:4])


def test_bits_of_images_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_memory = data.load(as_array(tmp_path))
    expected, _ = binarised(in_memory, 9)
    monkeypatch.setattr(stored, "IN_MEMORY", 0)
    there = data.load(str(tmp_path / "a.npy"))
    with pytest.raises(InputError, match="binarise fixed keeps bits in memory, and 6 images do"):
        binarised(there, 9)
    monkeypatch.setattr(stored, "IN_MEMORY", 0.25)
    assert torch.equal(binarised(there, 9)[0].test, expected.test)


@pytest.mark.slow
def test_the_published_bits_of_fashion_mnist(cli: Run) -> None:
    """Of Norouzi, Fleet and Norouzi 2020, whose code has this seed; taken by other code."""
    try:
        data.load("fashion-mnist")
    except InputError:
        pytest.skip("Fashion-MNIST is not at hand")
    said = cli(
        *("fit", "--data", "fashion-mnist", "--validation", "last:10000"),
        *("--binarise", "fixed:777", "--obs", "bernoulli", "--images", 100, "--out", "run", *SMALL),
    )
    assert said.exit_code == 0, said.output
    told = json.loads(cli("evaluate", "run", "--json").stdout)["binarised"]
    assert told["test"].pop("grey") == pytest.approx(-189.87, abs=0.005)
    assert told["validation"].pop("grey") < -180
    assert told == {
        "seed": 777,
        "validation": {
            "images": 10_000,
            "sum": 2_263_696,
            "sha256": "b0087ff633317072b4d0b97725ba7f87f5233daf6df29dc5432f421601877c61",
        },
        "test": {
            "images": 10_000,
            "sum": 2_248_637,
            "sha256": "33bc86729d1a5fabe7fc26556683b981e41cc8e110df6b260f45f515fd283c24",
        },
    }
