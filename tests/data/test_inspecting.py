"""What `pyro-vae data FILE` shows, against counts by hand, and names that go with images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result

import pyro_vae as pv
from pyro_vae import data
from pyro_vae.data.inspecting import BINS, inspected
from pyro_vae.training.suiting import suiting

from .pictures import noise, save

pytestmark = pytest.mark.usefixtures("no_pictures")

SMALL = ("--epochs", 1, "--hidden", 4, "--latent-dim", 1)


def photographs(there: Path) -> dict[str, np.ndarray]:
    """Two parts of two classes, with what goes wrong: a copy in each part, a dark one, a border."""
    found = {}
    for part, count in {"train": 14, "test": 6}.items():
        for i in range(count):
            levels = noise(100 * (part == "test") + i, 7, 6)
            levels[:, 0] = 9
            found[f"{part}/{'ab'[i % 2]}/{i:02}.png"] = levels
    found["train/a/12.png"] = found["train/b/03.png"]
    found["test/b/01.png"] = found["train/a/06.png"]
    found["train/b/05.png"] = np.full((7, 6), 9, np.uint8)
    for name, levels in found.items():
        save(there / name, levels)
    return found


def test_what_is_there_is_counted(tmp_path: Path) -> None:
    levels = photographs(tmp_path)
    found = inspected(data.load(str(tmp_path)))
    train = np.stack([x for name, x in sorted(levels.items()) if name.startswith("train")])
    assert (found["shape"], found["train"], found["test"]) == ([1, 7, 6], 14, 6)
    assert found["mean"] == pytest.approx(train.mean())
    assert found["deviation"] == pytest.approx(train.std())
    assert found["distinct"] == len(np.unique(train))
    counts, edges = np.histogram(train, BINS, (0, 256))
    assert found["histogram"]["edges"] == edges.tolist()
    assert found["histogram"]["shares"] == pytest.approx((counts / train.size).tolist())
    assert found["constant"] == {"pixels": 7, "of": 42}
    assert found["flat"] == {"images": 1, "some": ["b/05.png"]}
    assert found["duplicates"] == {
        "within": {"images": 1, "some": [["train b/03.png", "train a/12.png"]]},
        "between": {"images": 1, "some": [["test b/01.png", "train a/06.png"]]},
    }


def test_floats_have_the_histogram_of_their_own_range() -> None:
    x = np.random.default_rng(0).normal(50, 20, (90, 5))
    found = inspected(data.Data(torch.from_numpy(x[:80]).float(), None, torch.zeros(1, 5), None))
    counts, edges = np.histogram(x[:80], BINS)
    assert found["histogram"]["shares"] == pytest.approx((counts / 400).tolist())
    assert found["histogram"]["edges"] == pytest.approx(edges.tolist())
    deviations = x[:80].std(0)
    assert found["spread"] == pytest.approx(deviations.max() / deviations.min(), rel=1e-5)


def test_the_page_is_80_columns_wide_and_says_what_json_does(
    cli: Callable[..., Result], tmp_path: Path
) -> None:
    photographs(tmp_path / "p")
    shown = cli("data", "p")
    assert shown.exit_code == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "p: 20 images 1x7x6, levels 3 to 255, 14 train and 6 test, 2 classes"
    assert "constant pixels   7 of 42, the same in every image" in lines
    assert "of one value      1 in all: b/05.png" in lines
    assert "                  between parts 1: test b/01.png is train a/06.png" in lines
    assert "missing entries   none" in lines
    assert lines[-1] == "next: pyro-vae fit --data p"
    said = json.loads(cli("data", "p", "--json").stdout)
    assert said["constant"] == {"pixels": 7, "of": 42}
    assert said["fit"] == "pyro-vae fit --data p"
    resized = json.loads(cli("data", "p", "--resize", 5, "--crop", 4, "--json").stdout)
    assert resized["shape"] == [1, 4, 4]
    assert resized["fit"] == "pyro-vae fit --data p --resize 5 --crop 4"


GROUPS = {
    "levels": (lambda g: g.integers(0, 256, (30, 1, 4, 4)).astype(np.uint8), "pixels"),
    "two levels": (lambda g: g.integers(0, 2, (30, 1, 4, 4)).astype(np.uint8) * 255, "binary"),
    "zeros and ones": (lambda g: g.integers(0, 2, (30, 6)).astype(float), "binary"),
    "on [0, 1]": (lambda g: g.random((30, 1, 4, 4)), "pixels"),
    "counts": (lambda g: g.poisson(4.0, (30, 6)), "counts"),
    "positive": (lambda g: np.exp(2 * g.normal(size=(30, 6))), "positive"),
    "real": (lambda g: g.normal(size=(30, 6)), "real"),
    "hounsfield": (lambda g: g.integers(-1024, 3072, (30, 1, 4, 4)), "real"),
}


@pytest.mark.parametrize("kind", GROUPS)
def test_the_command_that_is_shown_trains(
    kind: str, cli: Callable[..., Result], tmp_path: Path
) -> None:
    make, group = GROUPS[kind]
    np.save(tmp_path / "a.npy", make(np.random.default_rng(0)))
    found = suiting(data.load(str(tmp_path / "a.npy")))
    assert next(iter(found)) == group
    vae_names = [name for names in found.values() for name in names]
    assert set(vae_names) <= set(pv.observations.TABLE)
    words = json.loads(cli("data", "a.npy", "--json").stdout)["fit"].split()[1:]
    trained = cli(*words, "--out", "run", *SMALL)
    assert trained.exit_code == 0, trained.stderr


def test_all_that_is_said_to_suit_can_be_trained() -> None:
    x = torch.from_numpy(np.random.default_rng(0).random((30, 6))).float()
    found = suiting(data.Data(x, None, x[:3], None))
    names = [name for names in found.values() for name in names]
    assert len(names) > 8
    for name in names:
        vae = pv.VAE((6,), 1, name, pv.networks.MLP(hidden=2))
        pv.fit(vae, x, epochs=1)


def test_names_go_with_their_images(cli: Callable[..., Result], tmp_path: Path) -> None:
    levels = {f"{i % 3}/x{i:02}.png": noise(i, 6, 5) for i in range(40)}
    for name, image in levels.items():
        save(tmp_path / "p" / name, image)
    found = data.load(str(tmp_path / "p"))

    def check(found: data.Data) -> int:
        count = 0
        for part in ("train", "test"):
            for i, image in enumerate(getattr(found, part)):
                assert np.array_equal(image[0].numpy(), levels[found.name(part, i)])
                count += 1
        return count

    assert check(found) == 40
    assert check(data.first(found, 3)) == 6
    trained = cli("fit", "--data", "p", "--out", "run", *SMALL)
    assert trained.exit_code == 0, trained.stderr
    # More of them: those that were held out stay so, and keep their names.
    before = set(found.names["test"])
    for i in range(40, 60):
        levels[f"0/x{i:02}.png"] = save(tmp_path / "p" / "0" / f"x{i:02}.png", noise(i, 6, 5))
    scored = cli("evaluate", "run", "--json")
    assert scored.exit_code == 0, scored.stderr
    said: list[dict[str, Any]] = json.loads(scored.stdout)["lowest"]
    assert len(said) == 4
    assert {each["name"] for each in said} == before
    vae = pv.load(tmp_path / "run")
    alone = {
        each["name"]: pv.evaluate(vae, levels[each["name"]][None, None], parts=())["elbo"]
        for each in said
    }
    assert [each["nats"] for each in said] == sorted(each["nats"] for each in said)
    spread = max(alone.values()) - min(alone.values())
    # Noise of dequantisation differs with an image's place: by little beside their differences.
    for each in said:
        assert each["nats"] == pytest.approx(alone[each["name"]], abs=max(2.0, spread / 2))


def test_what_has_no_names_has_numbers() -> None:
    found = data.Data(torch.zeros(3, 2), None, torch.zeros(2, 2), None, names={"train": ["a"]})
    assert [found.name("train", 0), found.name("test", 1)] == ["train 0", "test 1"]


def test_a_report_names_the_images_that_it_shows(
    cli: Callable[..., Result], tmp_path: Path
) -> None:
    for i in range(12):
        save(tmp_path / "p" / f"cell<{i:02}>.png", noise(i, 6, 5))
    assert cli("fit", "--data", "p", "--out", "run", *SMALL).exit_code == 0
    (name,) = data.load(str(tmp_path / "p")).names["test"]
    assert cli("report", "run", "--out", "page.html").exit_code == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert name.replace("<", "&lt;").replace(">", "&gt;") in page
    assert name not in page


def test_options_may_stand_before_the_data(cli: Callable[..., Result], tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).random((30, 3)))
    before, after = cli("data", "--json", "a.npy"), cli("data", "a.npy", "--json")
    assert before.exit_code == after.exit_code == 0
    assert json.loads(before.stdout) == json.loads(after.stdout)
