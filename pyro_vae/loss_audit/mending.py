"""What the function to paste is to be: the loss as it is, or with the named mistakes mended."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from pyro_vae.loss_audit import formulas, kinds, wording
from pyro_vae.loss_audit.evidence import Evidence
from pyro_vae.loss_audit.formulas import Form
from pyro_vae.loss_audit.kinds import Kind
from pyro_vae.loss_audit.reductions import word
from pyro_vae.loss_audit.shaping import Shape, limits, shape_of

__all__: list[str] = []

#: Findings that are about how terms are reduced.
_BALANCE = {"pixels-averaged", "axis-averaged", "latents-averaged", "kl-divided-by-pixels",
            "balance-depends-on-batch"}  # fmt: skip
#: Constants of a Gaussian, or of a Laplace, that a loss may as well be written with.
_USUAL = 1e-2, 1e6


@dataclass(frozen=True)
class Plan:
    """A loss per image: constant * r(x_hat, x) + multiplier * weight * shape(KL).

    Attributes:
        kind: The reconstruction term.
        constant: What it is multiplied by, where it is an error; 1 for others.
        form: The KL.
        shape: What is done to it.
        clamp: Limits of the log-variance, if any.
        name: The argument that weighs the KL, ``weight`` its default.
        multiplier: A further factor.
        remarks: What was mended, and how, where there is a choice.
    """

    kind: Kind
    constant: float
    form: Form
    shape: Shape
    clamp: tuple[float, float] | None
    name: str
    weight: float
    multiplier: float
    remarks: tuple[str, ...]

    @property
    def beta(self) -> float:
        """Weight of the KL against the term."""
        return self.multiplier * self.weight / self.constant


def plan(evidence: Evidence, found: Collection[str]) -> tuple[Plan | None, list[str]]:
    """Decide what to print.

    Args:
        evidence: What was measured.
        found: The codes of the findings.

    Returns:
        The plan, or None and what of the loss is not understood.
    """
    kind, unclear = _kind(evidence, found)
    form, shape, clamp, more = _divergence(evidence, found)
    unclear += more
    if unclear or kind is None or form is None or shape is None:
        return None, unclear
    beta, remarks = _beta(evidence, found)
    name, weight = evidence.own_weight or _free(evidence)
    if weight == 0:
        weight = 1.0
    constant, multiplier = 1.0, beta / weight
    # A whole error in the units of a Gaussian or a Laplace takes the balance into its spread.
    if (kind.norm or kind.robust) and _USUAL[0] <= weight / beta <= _USUAL[1]:
        constant, multiplier = weight / beta, 1.0
    if math.isclose(multiplier, 1, rel_tol=1e-4):
        multiplier = 1.0
    return (
        Plan(kind, constant, form, shape, clamp, name, weight, multiplier, tuple(remarks)),
        [],
    )


def _free(evidence: Evidence) -> tuple[str, float]:
    """A name for the weight of a loss that has none: one that the loss knows, or beta."""
    taken = {name for name, _ in evidence.binding.order}
    return ("beta" if "beta" not in taken else "kl_weight"), 1.0


def _kind(evidence: Evidence, found: Collection[str]) -> tuple[Kind | None, list[str]]:
    term = evidence.term
    if term.name in (kinds.NONE, kinds.RMSE):
        return kinds.SQUARED_KIND, []
    if term.name == kinds.SWAPPED:
        return kinds.BERNOULLI_KIND, []
    if term.name == kinds.OPTIMAL:
        return None, ["the squared error under a logarithm (optimal sigma), which is a loss of "
                      "another form"]  # fmt: skip
    if term.kind is None:
        return None, ["the reconstruction term: it is none of the known kinds"]
    if "shapes-broadcast" in found:
        return None, ["the reconstruction term: x and x_hat are broadcast against each other"]
    reading = evidence.probe.read(evidence.probe.point)
    counted = reading.positions[reading.positions != 0]
    if len(counted) and float(counted.max() - counted.min()) > 0.01 * float(counted.abs().max()):
        return None, ["where the weights of the positions in an image come from"]
    return term.kind, []


def _divergence(
    evidence: Evidence, found: Collection[str]
) -> tuple[Form | None, Shape | None, tuple[float, float] | None, list[str]]:
    kl = evidence.kl
    plain = formulas.closed(formulas.LOG_VARIANCE)
    if kl.form is None and "kl-unknown" not in found:
        return None, None, None, ["the term in mean and log_var: it is no sum of closed KLs"]
    declared = next(s for s in formulas.SCALES if s.name == evidence.declared)
    if kl.form is None or kl.form.name == "none":
        usable = declared if evidence.binding.scale else formulas.LOG_VARIANCE
        return formulas.closed(usable), Shape(), None, []
    if kl.form.code is not None or kl.behaviour == "nonlinear":
        mended = kl.form if kl.form.code is None else formulas.closed(kl.form.of)
        return mended, Shape(), None, []
    shape = shape_of(evidence.probe, kl)
    if shape is None:
        return plain, None, None, [f"what is done to the KL ({kl.behaviour})"]
    clamp = None
    if kl.clamped:
        clamp = limits(evidence.probe, kl)
        if clamp is None:
            return plain, None, None, ["what is done to log_var where it is large"]
    return kl.form, shape, clamp, []


def _beta(evidence: Evidence, found: Collection[str]) -> tuple[float, list[str]]:
    """The weight to print: as it acts now, or as it is written once the means are gone."""
    factor, term = evidence.kl.factor, evidence.term.weight
    own = evidence.own_weight[1] if evidence.own_weight else None
    asked = next(
        (evidence.binding.weights[name] for name in evidence.binding.weights
         if name in _misused(evidence) and set(found) & {"beta-ignored", "beta-scales-both",
                                                    "beta-on-reconstruction"}), None,
    )  # fmt: skip
    if not factor or not term or evidence.kl.behaviour == "nonlinear":
        return own or asked or 1.0, []
    now = abs(factor / term)
    if evidence.kl.sampled:
        now = float(f"{now:.2g}")  # as far as the noise allows
    written = now * _sizes(evidence, evidence.latent_axes, evidence.kl_powers)
    written /= _sizes(evidence, evidence.axes, evidence.pixel_powers)
    if "kl-divided-by-pixels" in found and math.isclose(now, written, rel_tol=1e-3):
        written *= math.prod(evidence.probe.point.sizes.data)  # a number in the code
    if "kl-missing-half" in found:
        now, written = now / 2, written / 2
    remarks = []
    beta = now
    if _BALANCE & set(found):
        # Of the two, the one that is nearer to the ELBO is what was meant.
        beta = min((now, written), key=lambda value: abs(math.log(value)))
        if not math.isclose(now, written, rel_tol=1e-3):
            remarks.append(
                f"Against sums within an image the KL weighs {now:,.6g} in your loss as it is, and "
                f"{written:,.6g} as it is written; the function below has {beta:,.6g}."
            )
    if asked is not None and asked > 0:
        if "beta-on-reconstruction" in found:
            beta *= asked  # its weight on the other term is gone with it
        beta *= asked
        remarks.append(f"The function below has the KL weighed by {asked:g}, as was asked for.")
    return beta, remarks


def _misused(evidence: Evidence) -> list[str]:
    named = (name for name in evidence.effects if wording.weighs_kl(name))
    return [name for name in named if not evidence.effects[name].weighs_kl]


def _sizes(evidence: Evidence, axes: dict[str, int], powers: dict[str, float]) -> float:
    every = {**evidence.axes, **evidence.latent_axes, **axes}
    return float(
        math.prod(
            size ** round(powers.get(axis, 0.0))
            for axis, size in every.items()
            if word(powers.get(axis, 0.0)) in ("mean", "sum")
        )
    )
