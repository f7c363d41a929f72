"""Observations, their scales and their weights, trained by ``pyro_vae.fit`` itself."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

import pyro_vae as pv
from experiments.blurry.loop import rounded
from experiments.blurry.setting import Row, Setting
from experiments.objective import interval

__all__ = ["annealing", "beta", "edges", "grey", "sigma"]

LEARNED = pv.observations.get("normal-learned-sigma", scale="dataset")
CLAMPED = pv.Head.of(
    dist.ContinuousBernoulli, "logits", parameter=attrgetter("base_dist.probs")
)  # fmt: skip


def _fit(
    setting: Setting, obs: str | pv.Head, seed: int | None = None, **options: Any
) -> tuple[pv.VAE, pv.History]:
    seed = setting.seed if seed is None else seed
    torch.manual_seed(seed)
    vae = pv.VAE((1, 28, 28), 20, obs)
    digits = setting.digits
    options = {"epochs": setting.epochs, **options}
    return vae, pv.fit(vae, digits.train, digits.test, seed=seed, keep_best=False, **options)


def _row(setting: Setting, vae: pv.VAE, history: pv.History, **settings: Any) -> Row:
    """Held-out figures, and the diagnosis."""
    found = pv.diagnose(vae, setting.digits.test, history, settings)
    last = history.epochs("held-out")[-1]
    pictures = vae.reconstruct(setting.digits.test)
    return {
        "kl": rounded(last["kl"]),
        "active_units": last["active_units"],
        "mse": rounded((pictures - setting.test).square().mean()),
        "mse_over_mean_image": rounded(found.evidence.error),
        "beta": rounded(last["beta"]),
        "verdict": found.verdict,
        "causes": [cause.code for cause in found.causes],
        "warnings": history.warnings,
    }


def grey(setting: Setting) -> Iterator[Row]:
    """Means and parameters of a continuous Bernoulli, clamped as torch's and exact."""
    always = (torch.cat([setting.train, setting.test]) == 0).all(0)
    yield {"pixels": "data", **_described(setting.test, setting.test, always)}
    pictures = [("input", setting.test[setting.shown])]
    for name, head in (("clamped", CLAMPED), ("exact", "continuous-bernoulli")):
        vae, history = _fit(setting, head)
        yield {"obs": name, **_row(setting, vae, history)}
        for kind in ("mean", "parameter"):
            picture = vae.reconstruct(setting.digits.test, kind)
            yield {"pixels": f"{name}, {kind}", **_described(picture, setting.test, always)}
            pictures.append((f"{name}, {kind}", picture[setting.shown]))
    setting.grid("grey", pictures)
    vae, history = _fit(setting, "bernoulli")
    row = _row(setting, vae, history)
    yield {"obs": "bernoulli", **row}
    vae, history = _fit(setting, "continuous-bernoulli", target_kl=round(row["kl"]))
    yield {
        "obs": f"continuous-bernoulli at a KL of {round(row['kl'])}",
        **_row(setting, vae, history),
    }


def _described(picture: Tensor, target: Tensor, always: Tensor) -> Row:
    return {
        "where always black": rounded(picture[:, always].mean()),
        "below .02 or above .98": rounded(((picture < 0.02) | (picture > 0.98)).float().mean()),
        "mse": rounded((picture - target).square().mean()),
    }


def edges(setting: Setting) -> Iterator[Row]:
    """Means of a continuous Bernoulli near λ = 1, by three routes."""
    for theta in (0.9999, 0.9999999, 0.99999999):
        exact = torch.tensor(theta, dtype=torch.float64)
        single = exact.float()
        naive = single / (2 * single - 1) + 1 / (2 * torch.atanh(1 - 2 * single))
        constant = torch.log(2 * torch.atanh(1 - 2 * single) / (1 - 2 * single))
        torchs = dist.ContinuousBernoulli(probs=single, validate_args=False).mean
        ours = pv.distributions.ContinuousBernoulli(logits=torch.logit(exact)).mean
        yield {
            "theta": theta,
            "formula in float32": round(float(naive), 4),
            "its log C": str(round(float(constant), 4)),
            "torch in float32": round(float(torchs), 4),
            "exact": round(float(ours), 4),
        }
    for logit in (0.0, 16.0, 100.0, 500.0):
        ours = pv.distributions.ContinuousBernoulli(logits=torch.tensor(logit).double())
        mean, variance = float(ours.mean), float(ours.variance)
        times = rounded(mean * (1 - mean) / variance)
        yield {"logit": logit, "exact": round(mean, 4), "Bernoulli's variance over its": times}


def sigma(setting: Setting) -> Iterator[Row]:
    """σ fixed, learned and computed, on two ranges."""
    get, optimal = pv.observations.get, "normal-optimal-sigma"
    cases = {
        "σ = √½ on [0, 1]": get("normal"),
        "σ = √½ on [0, 255]": get("normal", interval=(0.0, 255.0)),
        "σ learned on [0, 1]": LEARNED,
        "σ learned on [0, 255]": get(
            "normal-learned-sigma", scale="dataset", interval=(0.0, 255.0), scaled=True
        ),
        "σ computed per image": get(optimal, scale="image"),
        "σ computed per pixel": get(optimal, scale="pixel"),
    }
    for name, head in cases.items():
        vae, history = _fit(setting, head)
        yield {"sigma": name, **_row(setting, vae, history)}


def beta(setting: Setting) -> Iterator[Row]:
    """The cross-entropy of the third question under several β, as forecast and as seen."""
    pictures = [("input", setting.test[setting.shown])]
    for value in (0.25, 1.0, 4.0, 16.0, 64.0):
        forecast = pv.forecast(setting.digits.train, "bernoulli", beta=value)
        vae, history = _fit(setting, "bernoulli", beta=value)
        row = _row(setting, vae, history, beta=value)
        yield {"forecast": forecast.active_units, **row}
        label = f"β = {value:g}, {row['active_units']} units"
        pictures.append((label, vae.reconstruct(setting.digits.test[setting.shown])))
    setting.grid("beta", pictures)


def annealing(setting: Setting, seeds: int = 3) -> Iterator[Row]:
    """β raised over half of training, paired with β = 1; and what raises the learning rate."""
    epochs = setting.epochs
    rises = max(1, epochs // 2)
    differences = []
    for seed in range(seeds):
        ends = []
        for schedule in ("1", f"linear:0,1,epochs={rises}"):
            history = _fit(setting, "bernoulli", seed, beta=schedule)[1]
            ends.append(history.epochs("held-out")[-1]["objective"])
        differences.append(ends[1] - ends[0])
        yield {"seed": seed, "constant": rounded(ends[0]), "annealed": rounded(ends[1])}
    mean, half = interval(differences)
    yield {
        "annealed - constant": rounded(mean),
        "95% interval": [rounded(mean - half), rounded(mean + half)],
    }
    rate: dict[str, Any] = {"lr": 1.0, "lr_warm_up": 3600}
    vae, history = _fit(setting, "bernoulli", **rate)
    last = history.steps[-1]["learning_rate"]
    yield {"learning rate at the end": rounded(last), **_row(setting, vae, history, **rate)}
