"""Things to know about a loss that are no mistakes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pyro_vae.diagnosis.audit import reconstruction as terms
from pyro_vae.diagnosis.audit.evidence import Evidence
from pyro_vae.diagnosis.audit.reductions import word

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
    if evidence.term.kind == terms.OPTIMAL:
        yield (
            "The squared error enters by its logarithm: sigma is the batch's own error (optimal "
            "sigma), so there is no fixed effective beta. It is no log-density of the data; the "
            "function below has a fixed sigma."
        )
    elif evidence.beta is None:
        yield _no_beta(evidence)
    if evidence.made_up_for:
        yield (
            "Averages over axes and a constant weight cancel at these sizes only: with another "
            "image or code size the balance moves."
        )
    for name in sorted(evidence.binding.assumed):
        yield f"{name} has no default, or 0: it was audited at 1."


def _kl_remarks(evidence: Evidence) -> Iterator[str]:
    behaviour = evidence.kl.behaviour
    if behaviour == "capacity":
        yield "The KL enters as |KL - C|: the weight holds above C; the function below has no C."
    elif behaviour == "free bits":
        yield (
            "A small KL has no gradient (free bits): the weight given holds above them, and the "
            "function below has none."
        )
    elif behaviour == "capped":
        yield "A large KL has no gradient: the weight given holds below the cap."
    if evidence.kl.clamped:
        yield "log_var is clamped: beyond the limits it gets no gradient."


def _no_beta(evidence: Evidence) -> str:
    term, kl = evidence.term, evidence.kl
    if term.kind == "none":
        return "effective_beta is null: no gradient reaches x_hat."
    if term.kind == terms.RMSE:
        return "effective_beta is null: the weight of a root depends on the size of the error."
    if term.weight is None:
        return (
            "effective_beta is null: the reconstruction term is none of the known kinds, so there "
            "is nothing to count its weight in."
        )
    if kl.behaviour == "nonlinear":
        return "effective_beta is null: the weight of the KL changes with its size."
    what = "has no part" if kl.form is not None else "is none of the known forms and has no part"
    return f"effective_beta is null: the KL {what} in the mean that grows like its square."


def undecidable(kind: str, x: Any, x_hat: Any) -> str:
    """What no probe of the function alone can tell."""
    doubts = []
    if kind in (terms.SQUARED, terms.ABSOLUTE, terms.GAUSSIAN, terms.LAPLACE, terms.HUBER):
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
