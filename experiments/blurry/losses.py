"""Loss functions as they were asked about: trained as they are, and audited."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import pyro_vae as pv
from experiments.blurry import asked
from experiments.blurry.loop import Loss, Trained, rounded, train
from experiments.blurry.setting import Row, Setting

__all__ = ["audits", "autoencoder_mean", "networks", "reductions", "scales"]

BLUE, RED, GREY = "#0072b2", "#d55e00", "#777777"


def autoencoder_mean(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """A plain autoencoder's loss, by the same mean."""
    return nn.functional.mse_loss(x_hat, x)


def autoencoder_sum(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """The same, summed."""
    return nn.functional.mse_loss(x_hat, x, reduction="sum")


REDUCTIONS: dict[str, tuple[Loss, str]] = {
    "squared error, mean": (asked.mse_mean, "normal"),
    "cross-entropy, mean": (asked.bce_mean, "normal"),
    "squared error, sum": (asked.mse_sum, "normal"),
    "cross-entropy, sum": (asked.bce_sum, "normal"),
    "autoencoder, mean": (autoencoder_mean, "delta"),
}


def reductions(setting: Setting) -> Iterator[Row]:
    """Both losses under both reductions, and a plain autoencoder under the one that collapses."""
    centre = setting.train.mean(0)
    yield {
        "predicting 1/2": rounded((setting.train - 0.5).square().mean()),
        "predicting the mean image": rounded((setting.train - centre).square().mean()),
        "the same, held-out": rounded((setting.test - centre).square().mean()),
    }
    pictures = [("input", setting.test[setting.shown])]
    found: dict[str, Trained] = {}
    for name, (loss, posterior) in REDUCTIONS.items():
        found[name] = train(
            loss, setting.train, setting.epochs, posterior=posterior, seed=setting.seed
        )
        row = found[name].scores(setting.test, centre)
        if posterior == "delta":
            del row["kl"]
        yield {"loss": name, **row, **_ends(found[name])}
        pictures.append((name, found[name].reconstruct(setting.test[setting.shown])))
    for name, loss, posterior in (
        ("autoencoder, sum", autoencoder_sum, "delta"),
        ("VAE without its KL, mean", autoencoder_mean, "normal"),
    ):
        other = train(loss, setting.train, setting.epochs, posterior=posterior, seed=setting.seed)
        row = other.scores(setting.test, centre)
        del row["kl"]
        yield {"loss": name, **row}
    setting.grid("reductions", pictures)
    courses = {"mean": found["squared error, mean"], "sum": found["squared error, sum"]}
    _draw_courses(setting, courses)


def _ends(trained: Trained) -> Row:
    """The first batch's and the last epoch's figures, as the askers' logs show them."""
    last = torch.tensor(trained.course[-36:]).mean(0)
    return {
        "first batch": [rounded(value) for value in trained.course[0]],
        "last epoch's batches": [rounded(value) for value in last],
    }


def _draw_courses(setting: Setting, courses: dict[str, Trained]) -> None:
    figure = Figure(figsize=(8.3, 2.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (name, trained), colour in zip(courses.items(), (RED, BLUE), strict=True):
        errors, kl = zip(*trained.course, strict=True)
        steps = range(1, len(errors) + 1)
        left.plot(steps, errors, color=colour, linewidth=0.8, label=f"squared error, {name}")
        right.plot(steps, kl, color=colour, linewidth=0.8, label=f"squared error, {name}")
    levels = {
        "predicting 1/2": (setting.train - 0.5).square().mean(),
        "mean image": (setting.train - setting.train.mean(0)).square().mean(),
    }
    for (label, level), va in zip(levels.items(), ("bottom", "top"), strict=True):
        left.axhline(float(level), color=GREY, linestyle=":", linewidth=1)
        left.annotate(label, (3, float(level)), fontsize=8, color=GREY, va=va)
    left.set(xlabel="step", ylabel="squared error per pixel", ylim=(0, 0.26), xscale="log")
    right.set(xlabel="step", ylabel="KL of a batch, nats", xscale="log")
    right.set_yscale("symlog", linthresh=1)
    right.set_ylim(0, None)
    for axis in (left, right):
        axis.legend(fontsize=7, frameon=False, loc="best")
    figure.savefig(setting.path("course"), dpi=110)


def networks(setting: Setting) -> Iterator[Row]:
    """The first question's loss under other networks, learning rates and batch sizes."""
    steps = 18 * setting.epochs
    cases: dict[str, dict[str, Any]] = {
        "mlp, learning rate 0.0001": {"lr": 1e-4},
        "mlp, learning rate 0.01": {"lr": 1e-2},
        "mlp, batches of 32": {"batch_size": 32},
        "mlp, batches of 512": {"batch_size": 512},
        "convolutional": {"net": "conv"},
    }
    centre = setting.train.mean(0)
    for name, options in cases.items():
        size = options.get("batch_size", 128)
        epochs = max(1, round(steps * size / len(setting.train)))
        for reduction, loss in (("mean", asked.mse_mean), ("sum", asked.mse_sum)):
            trained = train(loss, setting.train, epochs, seed=setting.seed, **options)
            row = trained.scores(setting.test, centre)
            beta = 784 * size if reduction == "mean" else 1
            yield {"setting": name, "reduction": reduction, "beta": beta, **row}


SCALES: dict[str, Loss] = {
    "“correct”": asked.keras_mean,
    "“incorrect”": asked.keras_scaled,
    "“dimensions”": asked.keras_dimensions,
    "sum, sum, mean": asked.mse_sum,
}


def scales(setting: Setting) -> Iterator[Row]:
    """The fourth question's three losses, and its first with the reductions put right."""
    pictures = [("input", setting.test[setting.shown])]
    for name, loss in SCALES.items():
        trained = train(loss, setting.train, setting.epochs, seed=setting.seed)
        row = trained.scores(setting.test, setting.train.mean(0))
        yield {"loss": loss.__name__, "named": name, **row}
        pictures.append((name, trained.reconstruct(setting.test[setting.shown])))
    setting.grid("scales", pictures)


def audits(setting: Setting) -> Iterator[Row]:
    """What the audit says of each function; of two, at other sizes as well."""
    cases: list[tuple[str, dict[str, Any]]] = [(name, {}) for name in asked.__all__]
    cases += [
        ("keras_fixed_beta", {"data_shape": (3, 28, 28)}),
        ("keras_mean", {"latent_dim": 2}),
    ]
    for name, sizes in cases:
        sizes = {"data_shape": (1, 28, 28), "latent_dim": 20, "batch_size": 128, **sizes}
        report = pv.audit(getattr(asked, name), **sizes)
        yield {
            "loss": name,
            **sizes,
            "effective beta": _number(report.effective_beta),
            "implied sigma": _number(report.implied_sigma),
            "findings": [finding.code for finding in report.findings],
        }


def _number(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")
