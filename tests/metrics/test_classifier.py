"""The classifier of a data set: accurate, the same every time, cached, refused where need be."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from safetensors.torch import load_file, save_file

from pyro_vae import InputError
from pyro_vae.data import Data
from pyro_vae.metrics.classifier import Classifier, classifier_for


@pytest.fixture(scope="module")
def small(digits: Data) -> Data:
    return Data(digits.train[:192], digits.train_labels[:192], digits.test, digits.test_labels)  # type: ignore[index]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("classifiers")


@pytest.fixture(scope="module")
def trained(small: Data, cache: Path) -> Classifier:
    torch.set_num_threads(1)
    return classifier_for(small, cache)


def _same(a: Classifier, b: Classifier) -> bool:
    first, second = a.network.state_dict(), b.network.state_dict()
    assert len(first) > 5
    return all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.slow
def test_accuracy_on_the_embedded_digits(digits: Data, tmp_path: Path) -> None:
    found = classifier_for(digits, tmp_path)
    guessed = found.logits(digits.test).argmax(1).numpy()
    right = float(np.mean(guessed == np.asarray(digits.test_labels)))
    assert right >= 0.95
    assert found.accuracy == pytest.approx(right, abs=1e-12)
    assert found.tested == 500


def test_training_is_deterministic_whatever_the_callers_generator_and_threads(
    small: Data, trained: Classifier, tmp_path: Path
) -> None:
    torch.manual_seed(123)
    torch.set_num_threads(2)
    state = torch.get_rng_state()
    again = classifier_for(small, tmp_path)
    assert torch.get_num_threads() == 2
    assert torch.equal(torch.get_rng_state(), state)
    assert _same(trained, again)
    assert again.sha256 == trained.sha256


def test_the_cache_holds_it_bit_for_bit(small: Data, trained: Classifier, cache: Path) -> None:
    again = classifier_for(small, cache)
    assert trained.fresh
    assert not again.fresh
    assert _same(trained, again)
    assert (again.sha256, again.accuracy) == (trained.sha256, trained.accuracy)
    assert {path.suffix for path in cache.iterdir()} == {".json", ".safetensors"}
    assert torch.equal(again.features(small.test), trained.features(small.test))


def test_other_data_are_another_entry(small: Data, trained: Classifier, tmp_path: Path) -> None:
    images = small.train.clone()
    images[0, 0, 0, 0] += 1
    other = classifier_for(small._replace(train=images), tmp_path)
    assert other.path.name != trained.path.name
    assert other.sha256 != trained.sha256


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def _drop_json(path: Path) -> None:
    path.with_suffix(".json").unlink()


def _break_json(path: Path) -> None:
    path.with_suffix(".json").write_text("{")


def _list_json(path: Path) -> None:
    path.with_suffix(".json").write_text("[]")


def _other_weights(path: Path) -> None:
    weights = load_file(path)
    weights["head.bias"] += 1
    save_file(weights, path)


@pytest.mark.parametrize(
    "damage", [_truncate, _drop_json, _break_json, _list_json, _other_weights, Path.unlink]
)
def test_a_damaged_entry_is_trained_anew(
    damage: Callable[[Path], None], small: Data, trained: Classifier, cache: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(cache, tmp_path / "copy"))
    assert not classifier_for(small, copy).fresh
    damage(copy / trained.path.name)
    again = classifier_for(small, copy)
    assert again.fresh
    assert again.sha256 == trained.sha256
    assert not classifier_for(small, copy).fresh


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 12, 20)], ids=str)
def test_grey_and_colour_floats_of_any_size(shape: tuple[int, ...], tmp_path: Path) -> None:
    # Two classes that differ in brightness alone.
    labels = torch.arange(128) % 2
    images = torch.rand(128, *shape) * 0.5 + 0.5 * labels.view(-1, 1, 1, 1)
    found = classifier_for(Data(images, labels, images, labels), tmp_path)
    assert found.accuracy == 1
    features = found.features(images)
    assert features.shape == (128, found.dims)
    assert features.dtype == torch.float64


def test_features_do_not_depend_on_the_batch(small: Data, trained: Classifier) -> None:
    together = trained.features(small.test[:60])
    apart = torch.cat([trained.features(part) for part in small.test[:60].split(7)])
    torch.testing.assert_close(together, apart, rtol=1e-5, atol=1e-5)


def test_levels_and_floats_agree(small: Data, trained: Classifier) -> None:
    levels, floats = (trained.logits(x) for x in (small.test, small.test.float() / 255))
    torch.testing.assert_close(levels, floats)


X = torch.rand(40, 1, 8, 8)
Y = torch.arange(40) % 4
MISTAKES: dict[str, tuple[Data, str]] = {
    "no labels": (Data(X, None, X, None), "needs labels"),
    "no test labels": (Data(X, Y, X, None), "needs labels"),
    "vectors": (Data(X.flatten(1), Y, X.flatten(1), Y), "needs images"),
    "one class": (Data(X, Y * 0 + 3, X, Y), "at least 2 classes, got only class 3"),
    "negative labels": (Data(X, Y - 1, X, Y), "negative"),
    "floats to 255": (Data(X * 255, Y, X, Y), "floats on [0, 1]"),
}


@pytest.mark.parametrize("case", list(MISTAKES))
def test_mistakes_are_one_line(case: str, tmp_path: Path) -> None:
    data, said = MISTAKES[case]
    with pytest.raises(InputError) as caught:
        classifier_for(data, tmp_path / "cache")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "cache").exists()


def test_images_of_another_shape_are_refused(trained: Classifier) -> None:
    with pytest.raises(InputError, match=r"shape \(N, \*\(1, 28, 28\)\), got \(5, 3, 32, 32\)"):
        trained.features(torch.rand(5, 3, 32, 32))


def _save(path: Path, labels: bool) -> None:
    images = (X * 255).to(torch.uint8).numpy()
    arrays = {"images": images, "labels": Y.numpy()} if labels else {"images": images}
    np.savez(path, **arrays)  # type: ignore[arg-type]


def test_the_command_prints_and_finds_again(cli: Callable[..., Result], tmp_path: Path) -> None:
    _save(tmp_path / "own.npz", labels=True)
    words = ("classifier", tmp_path / "own.npz", "--cache", tmp_path / "cache")
    said = json.loads(cli(*words, "--json").stdout)
    assert said["trained_now"]
    assert Path(said["path"]).is_file()
    assert 0 <= said["accuracy"] <= 1
    printed = cli(*words).stdout
    assert "from the cache" in printed
    assert said["sha256"][:16] in printed
    assert f"{said['accuracy']:.4f} on {said['tested']}" in printed
    assert json.loads(cli(*words, "--json").stdout) == said | {"trained_now": False}


def test_the_command_refuses_data_without_labels(
    mistake: Callable[..., str], tmp_path: Path
) -> None:
    _save(tmp_path / "own.npz", labels=False)
    said = mistake("classifier", tmp_path / "own.npz", "--cache", tmp_path / "cache")
    assert "needs labels" in said


def test_gaps_between_classes_have_no_outputs(tmp_path: Path) -> None:
    labels = torch.arange(96) % 3
    images = (torch.rand(96, 1, 8, 8) * 60 + 90 * labels.view(-1, 1, 1, 1)).to(torch.uint8)
    names = torch.tensor([7, 90_000, 41])[labels]
    found = classifier_for(Data(images, names, images, names), tmp_path)
    assert found.logits(images).shape == (96, 3)
    assert found.accuracy > 0.9
    again = classifier_for(Data(images, names, images, names), tmp_path)
    assert (again.fresh, again.accuracy) == (False, found.accuracy)
