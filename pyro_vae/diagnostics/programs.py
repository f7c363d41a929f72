"""What is the matter with a pair of Pyro programs, as far as their sites tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import pyro
import torch

from pyro_vae.diagnostics.cause import Cause
from pyro_vae.elbo import BLOCK
from pyro_vae.metrics import evaluate
from pyro_vae.metrics.particles import rows_of, run
from pyro_vae.metrics.programs import as_arguments
from pyro_vae.objectives.terms import Site, latent_sites, other_sites, shared_plates, subsampling
from pyro_vae.types import JSON
from pyro_vae.warning_signs import SILENT

__all__ = ["ProgramDiagnosis"]


@dataclass(frozen=True)
class ProgramDiagnosis:
    """What the sites of a model and a guide say.

    Attributes:
        verdict: ``unfinished`` (of a VAE whose records say that it was still getting better),
            ``collapsed`` (no unit of any latent site is active, or each has less than 0.01
            nats), ``partly-collapsed`` (that holds of a site, or of half of all units), else
            ``not-collapsed``.
        causes: Why, as far as the programs show it.
        weights: β of each latent site in model and guide: its scale over the observed sites'.
        scores: What ``evaluate_programs`` says.
    """

    verdict: str
    causes: tuple[Cause, ...]
    weights: dict[str, tuple[float, float]]
    scores: dict[str, Any]

    evidence: ClassVar[None] = None

    @property
    def images(self) -> int:
        """How many rows were looked at."""
        return int(self.scores["images"])

    @property
    def remarks(self) -> tuple[str, ...]:
        """None: of pictures the sites tell nothing."""
        return ()

    @property
    def summary(self) -> str:
        """What the verdict means here, in a few words."""
        active = self.scores["active_units"]
        latents = [site for site in self.scores["sites"].values() if "kl" in site]
        units = sum(site["units"] for site in latents)
        return f"{active} of {units} units are active, the KL is {self.scores['kl']:.3g} nats"

    def to_dict(self) -> dict[str, object]:
        """Plain data for JSON."""
        return {**asdict(self), "summary": self.summary, "images": self.images}


def diagnose_programs(
    model: Callable[..., object], guide: Callable[..., object], data: Any
) -> ProgramDiagnosis:
    """Tell whether latent sites carry anything, and whether a scale in the programs is why.

    Args:
        model: A Pyro program whose sites are in one plate of the data.
        guide: Its guide, called with the same arguments.
        data: A tensor with a row for each image, or a tuple of arguments that begins with one.

    Raises:
        InputError: If a site cannot be scored; it names the site.
    """
    scores = evaluate((model, guide), data)
    weights = _weights(model, guide, data)
    latents = {name: site for name, site in scores["sites"].items() if "kl" in site}
    dead = [name for name, site in latents.items() if _dead(scores, latents, name)]
    units = sum(site["units"] for site in latents.values())
    if len(dead) == len(latents):
        verdict = "collapsed"
    elif dead or scores["active_units"] <= units / 2:
        verdict = "partly-collapsed"
    else:
        verdict = "not-collapsed"
    causes = list(_scaled_apart(weights))
    if verdict != "not-collapsed":
        causes += _too_large(weights, dead or list(latents))
    return ProgramDiagnosis(verdict, tuple(causes), weights, scores)


def _dead(scores: JSON, latents: JSON, name: str) -> bool:
    """Whether a latent site carries nothing."""
    site, each = latents[name], scores["kl_per_latent"]
    if each is None:
        return bool(site["active_units"] == 0 or site["kl"] < SILENT)
    before = list(latents)[: list(latents).index(name)]
    start = sum(latents[other]["units"] for other in before)
    own = each[start : start + site["units"]]
    return bool(site["active_units"] == 0 or max(own) < SILENT)


@torch.no_grad()
def _weights(
    model: Callable[..., object], guide: Callable[..., object], data: object
) -> dict[str, tuple[float, float]]:
    arguments, count = as_arguments(data)
    first = rows_of(arguments, count, slice(0, BLOCK))
    with torch.random.fork_rng(), pyro.validation_enabled(False):
        traces = run(model, guide, first, first)
    plates = shared_plates(*traces)

    def scale(site: Site) -> float:
        # A plate's subsampling scales all sites alike, and says nothing of β.
        off = site["mask"] is False
        return (
            0.0
            if off
            else float(torch.as_tensor(site["scale"]).float().mean()) / subsampling(site, plates)
        )

    observed, _ = other_sites(*traces)
    of_data = sum(map(scale, observed)) / len(observed)
    return {
        name: (scale(ours) / of_data, scale(theirs) / of_data)
        for name, ours, theirs in latent_sites(*traces)
    }


def _scaled_apart(weights: dict[str, tuple[float, float]]) -> list[Cause]:
    return [
        Cause(
            "scaled-on-one-side",
            f"site {name!r} is scaled by {ours:.3g} in the model and by {theirs:.3g} in the guide, "
            "relative to the data's: that is no multiple of its KL",
            "put poutine.scale(scale=beta) around the site in model and guide",
        )
        for name, (ours, theirs) in weights.items()
        if abs(ours - theirs) > 1e-3 * max(ours, theirs)
    ]


def _too_large(weights: dict[str, tuple[float, float]], names: list[str]) -> list[Cause]:
    return [
        Cause(
            "beta-too-large",
            f"the KL of {name!r} counts {weights[name][1]:.3g} times as much as the data's "
            "log-probability",
            "scale the site by 1, in model and guide",
        )
        for name in names
        if weights[name][1] > 1.001
    ]
