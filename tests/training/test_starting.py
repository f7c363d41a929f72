"""Where training begins, and which weights it ends with."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from pyro_vae import VAE, Head, History, Part, evaluate, fit, networks, observations
from pyro_vae.training import RunConfig, read_config

from .models import small

STILL: dict[str, Any] = {"epochs": 1, "lr": 1e-30}  # no step moves a weight


def first(history: History) -> float:
    found: float = history.epochs("held-out")[0]["reconstruction"]
    return found


def offset(vae: VAE) -> Tensor | None:
    found: Tensor | None = vae.likelihood.offset
    return found


def test_training_begins_at_the_best_constant_prediction(few: Tensor) -> None:
    """That of a Normal with one σ is the mean image, and the deviation about it, of all pixels."""
    x = few.flatten(1).double() / 256 + 0.5 / 256
    variance = float(x.var(0, correction=0).mean()) + 1 / 12 / 256**2
    constant = -x.shape[1] / 2 * (math.log(2 * math.pi * variance) + 1)
    vae = small("normal-learned-sigma")
    history = fit(vae, few, few, **STILL)
    assert history.baselines["best constant prediction"] == pytest.approx(constant, rel=1e-3)
    # The networks' own output at random weights is still added.
    usual = fit(small("normal-learned-sigma"), few, few, **STILL, init_from_data=False)
    assert first(usual) < constant - 300
    assert constant - 60 < first(history) < constant + 1


def test_data_in_a_unit_of_their_own_begin_where_they_lie() -> None:
    torch.manual_seed(0)
    rows = 700 + 25 * torch.randn(200, 6) + torch.arange(6) * 40
    vae = VAE((6,), 2, observations.get("real-normal"), networks.MLP(8))
    history = fit(vae, rows, rows, **STILL)
    found = vae.decode(torch.zeros(1, 2))
    torch.testing.assert_close(found.mean[0], rows.mean(0), atol=12, rtol=0)
    torch.testing.assert_close(found.stddev[0], rows.std(0, correction=0), atol=0, rtol=0.1)
    variance = rows.double().var(0, correction=0)
    constant = float(-0.5 * ((2 * math.pi * variance).log() + 1).sum())
    assert first(history) == pytest.approx(constant, abs=3)


def test_what_has_been_trained_is_not_moved(few: Tensor) -> None:
    vae = small("normal-learned-sigma")
    fit(vae, few, epochs=30, batch_size=30, lr=1e-2, init_from_data=False)
    assert offset(vae) is None
    before = evaluate(vae, few, parts=())
    assert before["beats_collapsed"]
    fit(vae, few, **STILL)
    assert offset(vae) is None
    assert evaluate(vae, few, parts=())["elbo"] == pytest.approx(before["elbo"], rel=1e-6)


def test_what_began_there_is_not_moved_there_again(few: Tensor) -> None:
    """Its decoder has learned deviations from where it was."""
    vae = small("normal-learned-sigma")
    fit(vae, few, **STILL)
    begun = offset(vae)
    assert begun is not None
    begun += 1.0
    fit(vae, few, **STILL)
    again = offset(vae)
    assert again is not None
    assert torch.equal(again, begun)
    fit(vae, few, **STILL, init_from_data=True)  # asked for
    assert not torch.equal(offset(vae), begun)  # type: ignore[arg-type]


def test_a_constant_that_knows_only_its_own_images_is_no_start() -> None:
    """Half of the pixels have one level in all images but the last tenth."""
    torch.manual_seed(0)
    images = torch.randint(60, 200, (200, 1, 4, 4), dtype=torch.uint8)
    images[:180, :, :2] = 7
    vae = small("discretized-normal", shape=(1, 4, 4))
    fit(vae, images, **STILL)
    assert offset(vae) is None
    fit(vae, images[:180], **STILL)  # where it is as good on the others
    assert offset(vae) is not None


def test_a_scale_at_its_floor_can_still_be_moved(few: Tensor) -> None:
    """The best σ of a pixel that is always black lies below its floor: softplus is flat there."""
    vae = small(observations.get("normal-learned-sigma", scale="pixel"))
    fit(vae, few, **STILL, init_from_data=True)
    raw = offset(vae)
    assert raw is not None
    raw = raw.clone().requires_grad_(True)
    vae.likelihood.offset = None
    scale = vae.likelihood(raw[None]).base_dist.scale
    assert bool((few.flatten(1) == 0).all(0).any())
    assert 0.01 < float(scale.detach().min()) < 0.0115
    (slope,) = torch.autograd.grad(scale.sum(), raw)
    assert float(slope[784:].min()) > 3e-4


STEPS: dict[str, Any] = {"epochs": 40, "batch_size": 20, "lr": 1e-2}


@pytest.mark.parametrize(("asked", "best"), [(None, True), (True, True), (False, False)])
def test_it_ends_on_the_best_validation_weights_unless_asked_for_the_last(
    few: Tensor, asked: bool | None, best: bool, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    vae = small("normal-learned-sigma", hidden=60)
    history = fit(vae, few[:40], few[200:], keep_best=asked, out=tmp_path / "run", **STEPS)
    bounds = [record["elbo"] for record in history.epochs("held-out")]
    assert max(bounds) > bounds[-1] + 1
    wanted = max(bounds) if best else bounds[-1]
    assert evaluate(vae, few[200:], parts=())["elbo"] == pytest.approx(wanted, rel=1e-5)
    end = history.ended(best)
    assert end is not None
    assert end["elbo"] == wanted
    assert read_config(tmp_path / "run")["fit"]["keep_best"] is best


def test_the_test_part_chooses_nothing(tmp_path: Path) -> None:
    options = {"images": 40, "hidden": 40, **STEPS}
    run = RunConfig.of(**options).run(tmp_path / "run")
    assert run.history.part == "test"
    bounds = [record["elbo"] for record in run.history.epochs("held-out")]
    assert max(bounds) > bounds[-1]
    found = evaluate(run.vae, run.data.test, parts=())["elbo"]
    assert found == pytest.approx(bounds[-1], rel=1e-5)
    assert read_config(tmp_path / "run")["fit"]["keep_best"] is False


def test_runs_that_begin_or_end_otherwise_have_other_fingerprints() -> None:
    """False, False were the defaults of earlier versions, whose sweeps are taken for theirs."""
    marks = {
        (begins, ends, part): RunConfig.of(
            init_from_data=begins,
            keep_best=ends,
            scale_lr=False,
            **({} if part is None else {"validation": part}),
        ).fingerprint
        for begins in (None, True, False)
        for ends in (None, False)
        for part in (None, "0.2")
    }
    for begins in (None, True, False):  # without a validation part there is nothing to end on
        assert marks[begins, None, None] == marks[begins, False, None]
        assert marks[begins, None, "0.2"] != marks[begins, False, "0.2"]
    assert len(set(marks.values())) == 9
    # What the version before computed for these; it had both off unless asked for.
    former = {
        (False, False, None): "44136fa355b3",
        (False, False, "0.2"): "052393ad3173",
        (False, None, "0.2"): "94f01b95b75f",
        (True, False, None): "85e9ba9ac882",
    }
    assert {key: marks[key][:12] for key in former} == former


def test_wide_layers_learn_in_proportion_more_slowly() -> None:
    """By how far one step of Adam, which is lr for every weight, moves each layer's."""
    torch.manual_seed(0)
    images = torch.randint(0, 256, (20, 1, 48, 64), dtype=torch.uint8)
    moved = {}
    for scaled in (True, False):
        torch.manual_seed(0)
        vae = small(shape=(1, 48, 64))
        before = {name: p.detach().clone() for name, p in vae.named_parameters()}
        fit(vae, images, epochs=1, batch_size=20, lr=1e-4, scale_lr=scaled)
        moved[scaled] = {
            name: float((p.detach() - before[name]).abs().max())
            for name, p in vae.named_parameters()
        }
    weights = {name: p for name, p in vae.named_parameters() if p.dim() == 2}
    wide = [name for name, p in weights.items() if p.shape[1] == 48 * 64]
    assert len(wide) == 1
    assert len(weights) > 2
    for name in weights:
        share = 1024 / (48 * 64) if name in wide else 1.0
        assert moved[True][name] == pytest.approx(1e-4 * share, rel=1e-3)
        assert moved[False][name] == pytest.approx(1e-4, rel=1e-3)


def test_what_has_collapsed_is_not_moved_where_that_would_be_worse(few: Tensor) -> None:
    """It has learned the constant itself: once more under it would be twice of it."""
    vae = small("normal-learned-sigma", latent_dim=1)
    fit(vae, few, epochs=40, batch_size=30, lr=3e-3, beta=1e4, init_from_data=False)
    before = evaluate(vae, few, parts=())
    assert before["active_units"] == 0
    weights = {name: value.clone() for name, value in vae.state_dict().items()}
    fit(vae, few, **STILL)
    assert offset(vae) is None
    for name, value in vae.state_dict().items():
        torch.testing.assert_close(value, weights[name], rtol=0, atol=1e-25)


def test_a_column_that_is_known_of_the_last_rows_only_begins_where_it_lies() -> None:
    torch.manual_seed(0)
    rows = {"a": torch.randn(200, 1), "b": 500 + torch.randn(200, 1)}
    rows["b"][:-15] = float("nan")
    parts = {name: Part((1,), "real-normal") for name in rows}
    vae = VAE(parts, 2, net=networks.MLP(8))
    fit(vae, rows, epochs=1, lr=1e-30)
    found = vae.decode(torch.zeros(1, 2))
    assert float(found["b"].mean.detach()) == pytest.approx(500, abs=3)


def test_probabilities_that_sum_to_one_start_as_they_are_in_the_data() -> None:
    """Their sum has no slope, and they have."""
    torch.manual_seed(0)
    levels = torch.multinomial(torch.tensor([0.7, 0.2, 0.1]), 400, replacement=True).float()
    head = Head.of(dist.Categorical, probs=(3,), levels="real")
    vae = VAE((4,), 2, head, networks.MLP(8))
    fit(vae, levels.reshape(100, 4), **STILL)
    counts = torch.stack([(levels.reshape(100, 4) == k).float().mean(0) for k in range(3)], -1)
    assert offset(vae) is not None
    found = vae.likelihood(torch.zeros(1, vae.likelihood.numbers)).base_dist.probs[0]
    torch.testing.assert_close(found, counts, atol=0.02, rtol=0)
