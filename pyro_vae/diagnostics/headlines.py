"""The five figures that a verdict rests on, each with a mark."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pyro_vae.diagnostics.evidence import Evidence
from pyro_vae.diagnostics.score_causes import APART
from pyro_vae.diagnostics.situations import FLAT, GOOD, Situation

__all__: list[str] = []


@dataclass(frozen=True)
class Headline:
    """A figure of a diagnosis.

    Attributes:
        label: What it is of.
        text: The figure and what it stands beside, with units.
        fine: Whether it is as it should be; None where that cannot be said.
    """

    label: str
    text: str
    fine: bool | None


def headlines_of(situation: Situation) -> tuple[Headline, ...]:
    """All of them, the score first."""
    return tuple(_headlines(situation))


def _headlines(s: Situation) -> Iterator[Headline]:
    e = s.evidence
    known = ((e.ppca, "PCA"), (e.uniform, "uniform"), (e.constant, "best constant"))
    beside = ", ".join(f"{name} {value:,.1f}" for value, name in known if value is not None)
    yield Headline("score", f"{e.score:,.1f} nats per image; {beside}", e.finite and not e.below)
    largest = "" if not e.kl_per_latent else f", the largest KL {e.kl_per_latent[0]:.2g} nats"
    units = f"{e.active_units} of {e.latent_dim}{largest}"
    yield Headline("active units", units, not (s.collapsed or s.thinned))
    yield _pictures(e)
    yield _scale(s)
    yield _course(s)


def _pictures(e: Evidence) -> Headline:
    if e.hidden:
        return Headline("pictures", e.hidden, None)
    said = f"squared error {e.error:.2g} of the mean image's, spread {e.spread:.2g} of the data's"
    return Headline("pictures", said, e.error <= 2 * GOOD and e.spread >= FLAT)


def _scale(s: Situation) -> Headline:
    e = s.evidence
    if e.sigma is None or not e.rmse > 0:
        return Headline("σ against error", "not known of this observation", None)
    said = f"{e.sigma:.3g} assumed, {e.rmse:.3g} actual, in units of the range"
    fine = max(e.sigma / e.rmse, e.rmse / e.sigma) <= APART
    return Headline("σ against error", said, fine if s.scale != "none" else None)


def _course(s: Situation) -> Headline:
    e = s.evidence
    if e.gain_per_epoch is None or e.doubled is None:
        return Headline("course", "not known: no records of training", None)
    said = f"{e.gain_per_epoch:+.3g} nats an epoch at the end, {e.doubled:+.3g} since half-time"
    # What was gained at a β that collapsed it is no sign of more to come.
    fine = None if s.collapsed else not (s.gaining or s.overfitted)
    return Headline("course", said, fine)
