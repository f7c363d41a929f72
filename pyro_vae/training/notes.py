"""Notes on a model, said before it is trained: what its scale implies, and what is sampled."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Distribution

from pyro_vae import specs
from pyro_vae.data import context
from pyro_vae.data.batch import Loaded
from pyro_vae.distributions.chain import Chain
from pyro_vae.elbo import evaluation_mode
from pyro_vae.objectives.terms import closed_kl
from pyro_vae.vae import VAE

__all__: list[str] = []


def scale_note(vae: VAE) -> str | None:
    """What a scale that is not learned implies, in one line; None where there is none.

    A Normal's fixed σ is the weight of the KL in disguise: squared error + 2σ² β KL.
    """
    param = vae.obs.of_role("scale")
    if param is None or param.origin == "learned":
        return None
    if param.origin == "residual":
        return _residual_note(param.scope)
    origin, scale = param.origin, vae.likelihood.fixed(str(vae.obs.scale))
    value = float(scale.square().mean().sqrt())
    said = f"σ = {value:.4g} {'from the data' if origin == 'data' else 'fixed'}"
    if scale.numel() > 1:
        said += (
            f" (root mean square over sites, {float(scale.min()):.2g} to {float(scale.max()):.2g})"
        )
    if vae.obs.family is not dist.Normal:
        return said
    return f"{said}: minimises summed squared error + 2σ² β KL, where 2σ² = {2 * value**2:.4g}"


def _parts(distribution: Distribution) -> list[Distribution]:
    """The distributions of a hierarchy's latents at one draw; of one latent its own."""
    if not isinstance(distribution, Chain):
        return [distribution]
    found: list[Distribution] = []

    def draw(level: int, p: Distribution) -> Tensor:
        found.append(p)
        value: Tensor = p.sample()
        return value

    with torch.random.fork_rng():
        distribution.steps(draw)
    return found


@torch.no_grad()
def kl_note(vae: VAE, images: Loaded) -> str | None:
    """That the KL is sampled, where prior and posterior have none in closed form; else None.

    Args:
        vae: The model.
        images: Levels (uint8) or floats, of which the first is encoded.
    """
    with evaluation_mode(vae):
        first = images[:1]
        q, p = vae.encode(first), vae.prior(**context(first))
        if all(closed_kl(*pair) is not None for pair in zip(_parts(q), _parts(p), strict=True)):
            return None
    return (
        f"the KL of {specs.short(vae.posterior_spec) or 'your posterior'} to "
        f"{specs.short(vae.prior_spec) or 'your prior'} has no closed form: "
        "figures of it are sampled"
    )


def _residual_note(scope: object) -> str:
    """What a scale that is the error's own implies."""
    if scope == "batch":
        return "σ is each batch's root mean square error, frozen outside training"
    said = "σ is computed from the errors that it scores: a loss and no likelihood"
    if scope == "pixel":
        said += (
            "; per pixel it is log|x − mean|, which only the floor bounds: expect it to diverge to "
            "each pixel's commonest value (--sigma-per image or batch does not)"
        )
    return said
