"""Mistakes: what the measured weights, powers and forms amount to."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from pyro_vae.loss_audit import kinds, wording
from pyro_vae.loss_audit.evidence import Evidence
from pyro_vae.loss_audit.reductions import word
from pyro_vae.loss_audit.report import Finding

__all__: list[str] = []


def find(evidence: Evidence) -> list[Finding]:
    """All mistakes in the terms, their signs, reductions and balance."""
    return [
        *_gradient(evidence),
        *_signs(evidence),
        *_kind(evidence),
        *_form(evidence),
        *_balance(evidence),
        *_pixels(evidence),
        *_latents(evidence),
        *_half(evidence),
    ]


def weigh_arguments(evidence: Evidence) -> Iterator[Finding]:
    """Weights of the KL, by their names, that do something else."""
    for name, effect in evidence.effects.items():
        value = evidence.binding.weights[name]
        if not wording.weighs_kl(name):
            continue
        says_kl = wording.says_kl(name)
        pixels, latents = effect.pixels or 0.0, effect.latents or 0.0
        if effect.still and not _hidden(evidence, name):
            yield Finding(
                "beta-ignored",
                f"The argument {name} changes nothing: the loss is the same at {value:g} and at "
                f"{2 * value or 1:g}. Multiply the KL by it.",
            )
        elif says_kl and abs(pixels - latents) < 1e-3 * abs(pixels) and abs(pixels - 1) > 1e-3:
            yield Finding(
                "beta-scales-both",
                f"The argument {name} multiplies both terms, so it only rescales the learning "
                "rate. Multiply the KL alone by it.",
            )
        elif says_kl and abs(latents - 1) < 1e-3 < pixels - 1:
            yield Finding(
                "beta-on-reconstruction",
                f"The argument {name} multiplies the reconstruction term: raising it weakens the "
                "KL. Multiply the KL by it.",
            )


def _hidden(evidence: Evidence, name: str) -> bool:
    """It weighs a term that is switched off: another weight, or a schedule, does the KL's work."""
    if evidence.own_weight is None:
        return bool(set(wording.words(name)) & {"anneal", "annealing", "warm", "warmup"})
    return not wording.says_kl(name)


def _gradient(evidence: Evidence) -> Iterator[Finding]:
    probe, point = evidence.probe, evidence.probe.point
    if not probe.differentiable and not probe.plain:
        yield Finding(
            "no-gradient",
            "No gradient flows from the loss (no_grad, detach, item, or a change in place): "
            "nothing is trained. Figures were read from values.",
        )
    value = probe.value(point)
    if evidence.term.name == kinds.NONE:
        moved = probe.value(replace(point.scaled(errors=0.5), latents=point.latents))
        yield _absent("reconstruction", "x_hat", moved != value)
    if evidence.kl.form is not None and evidence.kl.form.name == "none":
        moved = probe.value(replace(point, latents=tuple((m / 2, s / 2) for m, s in point.latents)))
        yield _absent("kl", "mean and log_var", moved != value)
    if probe.warned:
        yield Finding(
            "shapes-broadcast",
            "x and x_hat meet in different shapes and are broadcast against each other: each "
            "pixel is compared with many. Reshape one to the other's shape.",
        )


def _absent(term: str, inputs: str, in_value: bool) -> Finding:
    if in_value:
        return Finding(
            f"{term}-detached",
            f"The loss contains {inputs}, but no gradient reaches them (detach, no_grad or item): "
            "the term is shown, not trained. Let the gradient through.",
        )
    return Finding(
        f"no-{term}", f"The loss does not depend on {inputs} at all. Add the missing term."
    )


def _signs(evidence: Evidence) -> Iterator[Finding]:
    pixels, latents = evidence.term.weight or 0.0, evidence.kl.weight or 0.0
    if pixels < 0 and latents < 0:
        yield Finding(
            "elbo-not-negated",
            "This is the ELBO, which is to be maximised; minimising it makes everything worse. "
            "Return its negative.",
        )
    elif pixels < 0:
        yield Finding(
            "reconstruction-wrong-sign",
            "The reconstruction term has the wrong sign: minimising drives x_hat away from x. "
            "Take the negative log-likelihood.",
        )
    elif latents < 0 and (evidence.kl.form is None or evidence.kl.form.code is None):
        yield Finding(
            "kl-wrong-sign",
            "The KL has the wrong sign: minimising drives codes away from the prior. Write "
            "-0.5 * (1 + log_var - mean.pow(2) - log_var.exp()), and add it.",
        )


def _kind(evidence: Evidence) -> Iterator[Finding]:
    name, probe = evidence.term.name, evidence.probe
    if name == kinds.RMSE:
        yield Finding(
            "rmse",
            "The reconstruction term is a root of the squared error: no log-likelihood per image, "
            "its weight against the KL changes with the error's size. Take the squared error.",
        )
    if name == kinds.SWAPPED:
        yield Finding(
            "x-and-x-hat-swapped",
            "The cross-entropy takes x for the prediction and x_hat for the target. In torch the "
            "prediction comes first: binary_cross_entropy(x_hat, x); or the arguments were meant "
            "in another order than in the notes.",
        )
    if name == kinds.SQUARED_SUM:
        yield Finding(
            "errors-cancel",
            "Errors are summed before they are squared: those of different signs cancel, and a "
            "wrong image of the right brightness costs nothing. Square each first: "
            "(x - x_hat).pow(2).sum().",
        )
    images = probe.read(probe.point).images
    if (
        evidence.term.weight
        and evidence.term.axis is None
        and not probe.noisy
        and float((images - images.mean()).abs().max()) > (0.01 * float(images.abs().max()))
    ):
        yield Finding(
            "images-weighted-unevenly",
            "Not all images of a batch count alike in the reconstruction term: some are left out "
            "or weigh more. Reduce over the whole batch.",
        )


def _form(evidence: Evidence) -> Iterator[Finding]:
    form = evidence.kl.form
    if form is None and evidence.kl.joint:
        return  # a right term of another kind, for all that a probe can tell
    if form is None:
        yield Finding(
            "kl-unknown",
            "The KL term is not KL(q || N(0, I)) of a Gaussian, of another Gaussian prior, nor "
            "any known mistake for it. Compare it with the formula "
            "0.5 * (mean.pow(2) + log_var.exp() - 1 - log_var).",
        )
    elif form.code == "kl-scale-ignored" and _moved_by_scale(evidence):
        yield Finding(
            "log-var-detached",
            "log_var is in the value of the KL, but no gradient reaches it (detach, no_grad or "
            "item): the variance is shown, not trained. Let the gradient through.",
        )
    elif form.code is not None:
        yield Finding(form.code, form.sentence)
    elif evidence.kl.behaviour == "nonlinear":
        yield Finding(
            "kl-nonlinear",
            "The KL does not enter by a constant weight: its gradient changes with its size. Add "
            "it as it is, times beta.",
        )
    elif form.of.plain and evidence.binding.scale not in (None, form.of.name):
        name = evidence.binding.argument("log_var")
        yield Finding(
            f"kl-takes-{form.of.name}",
            f"The KL takes {name} for a {form.of.name}. Right if that is what the encoder gives "
            f"everywhere (then rename it), wrong if it is a {evidence.declared}: the form shows, "
            "the intent does not; no probe can tell which.",
        )


def _moved_by_scale(evidence: Evidence) -> bool:
    point = evidence.probe.point
    moved = evidence.probe.value(
        replace(point, latents=tuple((m, s / 2) for m, s in point.latents))
    )
    return moved != evidence.probe.value(point)


def _balance(evidence: Evidence) -> Iterator[Finding]:
    power = evidence.pixel_powers["batch"] - evidence.kl_powers["batch"]
    absent = evidence.term.name == kinds.NONE or evidence.kl.weight == 0
    words = [word(powers["batch"]) for powers in (evidence.pixel_powers, evidence.kl_powers)]
    vague = evidence.kl.joint and "other" in words
    if abs(power) < 0.2 or absent or vague:
        return
    how = [_reduced(powers["batch"]) for powers in (evidence.pixel_powers, evidence.kl_powers)]
    batch, beta = evidence.axes["batch"], evidence.beta
    grows = "the weight of the KL against it changes with the batch size"
    if beta is not None:
        other = beta * 2.0 ** round(power)
        grows = f"effective beta is {beta:,.6g} at {batch} images and {other:,.6g} at {2 * batch}"
    yield Finding(
        "balance-depends-on-batch",
        f"Over the batch the reconstruction term is {how[0]}, the KL {how[1]}: {grows}. Sum within "
        "an image, then average both over the batch.",
    )


def _reduced(power: float) -> str:
    text = {"sum": "summed", "mean": "averaged"}.get(word(power))
    return text or f"divided by the number of images to the power {power:.2g}"


def _pixels(evidence: Evidence) -> Iterator[Finding]:
    averaged = evidence.averaged
    wide = [axis for axis, size in evidence.axes.items() if size > 1 and axis != "batch"]
    if averaged and evidence.term.weight and not evidence.made_up_for:
        times = math.prod(evidence.axes[axis] for axis in averaged)
        code = "pixels-averaged" if averaged == wide else "axis-averaged"
        sigma = ""
        if evidence.beta is not None and evidence.beta > 0 and evidence.term.name == kinds.SQUARED:
            sigma = f" The whole loss amounts to sigma {math.sqrt(evidence.beta / 2):,.3g}."
        yield Finding(
            code,
            f"The reconstruction term is averaged over {', '.join(averaged)} ({times:,} values): "
            f"this makes the KL {times:,} times as strong.{sigma} Sum over each image.",
        )
    divided = [
        a for a in wide if evidence.kl_powers.get(a, 0.0) > 0.8 and evidence.pixel_powers[a] < 0.2
    ]
    size = math.prod(evidence.axes[axis] for axis in wide)
    written_in = (
        size > 1
        and not averaged
        and not any(word(evidence.kl_powers.get(axis, 0.0)) == "mean" for axis in wide)
        and math.isclose(abs(evidence.kl_constant) * size, 1, rel_tol=1e-3)
        and any(math.isclose(abs(evidence.pixel_constant), c, rel_tol=1e-3) for c in (1.0, 0.5))
    )
    if divided or written_in:
        doubt = "" if divided else " (or a beta of that size was chosen; no probe can tell)"
        yield Finding(
            "kl-divided-by-pixels",
            f"The KL is divided by the number of pixels{doubt}, the reconstruction term is not: "
            "the KL hardly counts. Sum both within an image.",
        )


def _latents(evidence: Evidence) -> Iterator[Finding]:
    averaged = evidence.averaged_latents
    size = math.prod(evidence.latent_axes[axis] for axis in averaged)
    if evidence.kl.joint and evidence.kl.form is None:
        return
    if averaged and not evidence.made_up_for:
        yield Finding(
            "latents-averaged",
            f"The KL is averaged over the {size} latents: it counts {size} times too little. Sum "
            "it over the latents of an image.",
        )
    elif averaged and all(word(evidence.pixel_powers.get(a, 0.0)) == "mean" for a in averaged):
        yield Finding(
            "divided-by-latents",
            f"Both terms are divided by the number of latents ({size}), where the batch size may "
            "have been meant (shape[1] for shape[0]): the balance is as it should be, but the "
            "gradient grows with the batch. Divide by the number of images.",
        )


def _half(evidence: Evidence) -> Iterator[Finding]:
    kl, chosen = evidence.kl, evidence.chosen
    right_form = kl.form is not None and kl.form.code is None
    if (
        right_form
        and not math.isclose(chosen, 2)
        and evidence.term.weight
        and math.isclose(evidence.kl_constant, 2, rel_tol=5e-3)
        and math.isclose(evidence.pixel_constant, 1, rel_tol=5e-3)
    ):
        yield Finding(
            "kl-missing-half",
            "The KL counts twice: either its factor 1/2 is missing, or beta = 2 is meant, or this "
            "is twice the loss of a Gaussian with sigma 1; no probe can tell which. If the first, "
            "write 0.5 * (...).",
        )
