"""Things to know about a loss that are no mistakes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from pyro_vae.loss_audit import kinds
from pyro_vae.loss_audit.evidence import Evidence
from pyro_vae.loss_audit.reductions import word

__all__: list[str] = []


def remark(evidence: Evidence) -> Iterator[str]:
    """Things to know that are no mistakes."""
    probe, kl = evidence.probe, evidence.kl
    batch = evidence.pixel_powers["batch"], evidence.kl_powers["batch"]
    if word(batch[0]) == word(batch[1]) == "sum":
        yield (
            "Both terms are summed over the batch: the gradient grows with the batch size, so a "
            "learning rate means something else at each. Divide by the number of images."
        )
    if evidence.fixed:
        yield (
            f"The function does not accept another size of {', '.join(evidence.fixed)}; the "
            "reductions there were read off the weights alone: no probe can tell a mean from a "
            "division by a number written into the code."
        )
    if probe.differentiable is False and probe.plain:
        yield "It returns a plain number: nothing can be trained on that. Return the tensor."
    if kl.sampled:
        yield "The KL is a sampled estimate: right on average, only noisier than the closed form."
    elif probe.noisy:
        yield "The function draws noise: figures are averages over seeds."
    yield from _kl_remarks(evidence)
    if evidence.term.name == kinds.OPTIMAL:
        yield (
            "The squared error enters by its logarithm: sigma is the batch's own error (optimal "
            "sigma), so there is no fixed effective beta. It is no log-density of the data: "
            "for one, fix sigma, or learn it."
        )
    elif evidence.beta is None:
        yield _no_beta(evidence)
    if evidence.made_up_for:
        yield (
            "Averages over axes and a constant weight cancel at these sizes only: with another "
            "image or code size the balance moves."
        )
    for name in sorted(evidence.binding.assumed):
        value = evidence.binding.weights[name]
        yield f"{name} has no default, or 0: it was audited at {value:g}."
    yield from _idle(evidence)
    yield from _positions(evidence)
    yield from _hardly(evidence)


def _idle(evidence: Evidence) -> Iterator[str]:
    idle = [name for name, value in evidence.binding.weights.items() if value == 0]
    if idle:
        yield f"{', '.join(idle)} = 0 by default: what it weighs is not in the loss as audited."


def _positions(evidence: Evidence) -> Iterator[str]:
    reading = evidence.probe.read(evidence.probe.point).positions
    counted = reading[reading != 0]
    if len(counted) < len(reading):
        yield (
            f"{len(reading) - len(counted):,} of the {len(reading):,} values of an image have no "
            "part in the reconstruction term; figures are against the sum of the others."
        )
    if len(counted) and float(counted.max() - counted.min()) > 0.01 * float(counted.abs().max()):
        yield (
            "Positions weigh unequally in the reconstruction term, from "
            f"{float(counted.min()):.3g} to {float(counted.max()):.3g} of their mean, alike in "
            "every image; figures are against their mean."
        )


#: Standard deviation of the rounding of data to 8 bits, on [0, 1].
_ROUNDING = 1 / 255 / math.sqrt(12)


def _hardly(evidence: Evidence) -> Iterator[str]:
    beta, term = evidence.beta, evidence.term
    if beta is None or not beta > 0 or term.kind is None:
        return
    # The spread of the decoder that the balance amounts to; of a likelihood, beta itself.
    spread = {2: math.sqrt(beta / 2), 1: math.sqrt(2) * beta}.get(term.kind.norm)
    if spread is not None and spread >= _ROUNDING:
        return
    if spread is None and beta >= 1e-3:
        return
    said = "" if spread is None else f", as a decoder of standard deviation {spread:.2g} has it"
    if spread is not None:
        said += f" (8-bit rounding alone has {_ROUNDING:.5f})"
    yield (
        f"The KL hardly counts (beta {beta:.3g}{said}): this is an autoencoder in all but name. "
        "Its codes will not be near N(0, I), so that z drawn from N(0, I) decodes to nothing. What "
        "is to be trained on the codes gets (z - mean) / std of sampled z over the training data; "
        "to decode, multiply by std and add mean again."
    )


def _kl_remarks(evidence: Evidence) -> Iterator[str]:
    behaviour = evidence.kl.behaviour
    if behaviour == "capacity":
        yield "The KL enters as |KL - C|: the weight holds above C."
    elif behaviour == "free bits":
        yield ("A small KL has no gradient (free bits): the weight given holds above them.")
    elif behaviour == "capped":
        yield "A large KL has no gradient: the weight given holds below the cap."
    form = evidence.kl.form
    if form is not None and form.prior != (0.0, 1.0):
        yield (
            f"The prior is N({form.prior[0]:.4g}, {form.prior[1]:.4g}), its variance second: draw "
            "z from that."
        )
    unsaid = evidence.binding.scale is None and form is not None and form.name != "none"
    if form is not None and form.of.plain and unsaid and form.of.name != "log-variance":
        name = evidence.binding.argument("log_var")
        yield f"The KL takes {name} for a {form.of.name}; its name does not say."
    if form is not None and not form.of.plain:
        name = evidence.binding.argument("log_var")
        yield f"The KL makes the {form.of.name.replace('(s)', f'({name})')}."
    if form is None and evidence.kl.joint:
        yield (
            "The term in mean and log_var is no sum over latents of a closed form: it depends on "
            "other latents or images, or on draws, as a total correlation, an MMD, a flow or a "
            "mixture prior do. That is no mistake; no probe can tell whether it is right."
        )
    if evidence.kl.clamped:
        yield "log_var is clamped: beyond the limits it gets no gradient."


def _no_beta(evidence: Evidence) -> str:
    term, kl = evidence.term, evidence.kl
    if term.name == "none":
        return "effective_beta is null: no gradient reaches x_hat."
    if term.name == kinds.RMSE:
        return "effective_beta is null: the weight of a root depends on the size of the error."
    if term.weight is None:
        return (
            "effective_beta is null: the reconstruction term is none of the known kinds, so there "
            "is nothing to count its weight in."
        )
    if kl.form is None and kl.joint:
        return "effective_beta is null: there is no sum of KLs by latent to weigh."
    if kl.behaviour == "nonlinear":
        return "effective_beta is null: the weight of the KL changes with its size."
    what = "has no part" if kl.form is not None else "is none of the known forms and has no part"
    return f"effective_beta is null: the KL {what} in the mean that grows like its square."


def undecidable(kind: str, x: Any, x_hat: Any) -> str:
    """What no probe of the function alone can tell."""
    doubts = []
    if kind in (kinds.SQUARED, kinds.ABSOLUTE, kinds.GAUSSIAN, kinds.LAPLACE, kinds.HUBER):
        doubts.append("whether x and x_hat are swapped (they look the same here)")
    if x is None:
        doubts.append("whether x runs over 0..255 (give x)")
    if x_hat is None:
        twice = ", or gets a sigmoid twice" if kind.endswith("logits") else ""
        doubts.append(f"whether the decoder's range fits{twice} (give x_hat)")
    return f"No probe can tell {'; '.join(doubts)}." if doubts else ""


def wide(sigma: float) -> str:
    """What a standard deviation above the data's range means."""
    return (
        f"A sigma of {sigma:.3g} is wide for data on [0, 1]: expect few active latents. Give the "
        "data for a forecast, and set sigma near the RMSE of your reconstructions."
    )
