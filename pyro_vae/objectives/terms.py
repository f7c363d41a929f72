"""Terms of an objective, read from the traces of a model and a guide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from typing import TypedDict

import torch
from pyro.distributions import TorchDistribution
from pyro.distributions.distribution import Distribution
from pyro.distributions.util import scale_and_mask
from pyro.poutine import Trace
from pyro.poutine.indep_messenger import CondIndepStackFrame
from pyro.poutine.util import site_is_subsample
from torch import Tensor
from torch.distributions import kl_divergence

__all__ = ["log_weights"]


class Site(TypedDict):
    """A sample site of a trace, as Pyro has it."""

    type: str
    name: str
    fn: TorchDistribution
    value: Tensor
    is_observed: bool
    infer: dict[str, object]
    scale: float | Tensor
    mask: bool | Tensor | None
    cond_indep_stack: Sequence[CondIndepStackFrame]
    log_prob: Tensor
    unscaled_log_prob: Tensor
    done: bool
    args: tuple[object, ...]
    kwargs: dict[str, object]


Plates = set[tuple[str, int]]
"""Names and dims of plates."""

_SCORED = (TorchDistribution.__module__, Distribution.__module__)
"""Where the scores of a distribution are those of one that is reparameterised, or is none."""

PARTICLES = "num_particles_vectorized"
"""The name that Pyro's own ELBOs give the plate of their particles."""


def check_sites(model_trace: Trace, guide_trace: Trace) -> None:
    """Check that model and guide fit each other and that gradients can flow through the guide.

    Raises:
        ValueError: If the model has no sites, a site of the guide is not reparameterised, or a
            latent site is missing on one of the two sides.
    """
    model, guide = dict(_samples(model_trace)), dict(_samples(guide_trace))
    if not model:
        raise ValueError("the model has no sample sites")
    for name, site in guide.items():
        if not getattr(site["fn"], "has_rsample", False):
            raise ValueError(
                f"site {name!r} of the guide is not reparameterised ({_family(site)} has no "
                "rsample): use a reparameterised distribution, or Pyro's Trace_ELBO"
            )
        if partial(site["fn"]):
            raise ValueError(
                f"site {name!r} of the guide is reparameterised in part only ({_family(site)} has "
                "a score of its own): use another distribution, or Pyro's Trace_ELBO"
            )
        if site["is_observed"] or site["infer"].get("is_auxiliary"):
            continue
        if name not in model:
            raise ValueError(
                f"site {name!r} of the guide is not in the model: remove it there, or mark it "
                "infer={'is_auxiliary': True}"
            )
        if model[name]["is_observed"]:
            raise ValueError(f"site {name!r} is observed in the model but sampled by the guide")
    for name, site in model.items():
        if not site["is_observed"] and name not in guide:
            raise ValueError(f"latent site {name!r} of the model is not in the guide")


def latent_sites(model_trace: Trace, guide_trace: Trace) -> Iterator[tuple[str, Site, Site]]:
    """Name, model's and guide's site of each latent variable, in the model's order."""
    for name, site in _samples(model_trace):
        if not site["is_observed"]:
            yield name, site, guide_trace.nodes[name]


def other_sites(model_trace: Trace, guide_trace: Trace) -> tuple[list[Site], list[Site]]:
    """The model's observed sites, and the guide's sites that are no latent variable's."""
    latent = {name for name, *_ in latent_sites(model_trace, guide_trace)}
    observed = [site for name, site in _samples(model_trace) if name not in latent]
    auxiliary = [site for name, site in _samples(guide_trace) if name not in latent]
    return observed, auxiliary


def nested_sites(model_trace: Trace, guide_trace: Trace) -> set[str]:
    """Latent sites whose KL, given the sites before them, has the ELBO's expectation.

    A KL in closed form integrates over a site while it holds what the model's density of it depends
    on. That is right unless the guide draws one of those in dependence on this very site: where all
    that the model has before a site comes before it in the guide, too, it cannot.
    """
    order = [name for name, *_ in latent_sites(model_trace, guide_trace)]
    guided = [name for name, _ in _samples(guide_trace) if name in order]
    return {
        name for i, name in enumerate(order) if set(order[:i]) <= set(guided[: guided.index(name)])
    }


def closed_kl(q: Distribution, p: Distribution) -> Tensor | None:
    """KL(q ‖ p) in nats, of their batch shape; None where there is no closed form."""
    try:
        value: Tensor = torch.as_tensor(kl_divergence(q, p))  # a number where all is masked
    except NotImplementedError:
        return None
    return value.expand(torch.broadcast_shapes(q.batch_shape, p.batch_shape))


def partial(fn: object) -> bool:
    """Whether draws follow the parameters only in part, as those of a rejection sampler do."""
    while fn is not None:
        own = getattr(type(fn), "score_parts", None)
        if own is not None and own.__module__ not in _SCORED:
            return True
        fn = getattr(fn, "base_dist", None)
    return False


def data_dim(model_trace: Trace, guide_trace: Trace) -> int:
    """The dim of the data's plate: the rightmost plate that every site is in.

    Raises:
        ValueError: If there is none; it names a site that is in no plate of the others.
    """
    if shared := shared_plates(model_trace, guide_trace):
        return max(dim for _, dim in shared)
    sites = _scored(model_trace, guide_trace)
    seen = [plate for site in sites for plate in _plates(site)]
    if not seen:
        raise ValueError("no site is in a plate: images are told apart by that of the data")
    common = max(seen, key=seen.count)
    outside = next(site["name"] for site in sites if common not in _plates(site))
    raise ValueError(
        f"site {outside!r} is outside the plate {common[0]!r}, so that it cannot be scored for "
        "each image"
    )


def over_particles(value: Tensor, site: Site, event_dim: int = 0) -> Tensor:
    """A figure of a site's batch, averaged over an objective's particles where it has any.

    Args:
        value: Of the site's batch shape, and ``event_dim`` dims more.
        site: A sample site.
        event_dim: Dims of the figure right of the batch's.

    Returns:
        The same with size 1 in the particles' dim.
    """
    dims = [f.dim - event_dim for f in site["cond_indep_stack"] if f.name == PARTICLES]
    return value.mean(dims, keepdim=True) if dims else value


def weight(site: Site, *, without: float = 1.0) -> Tensor:
    """Scale × mask on each element of a site's batch.

    Args:
        site: A sample site.
        without: A factor of the scale to leave out.

    Returns:
        A tensor of the site's batch shape.
    """
    value: Tensor = site["value"]
    ones = torch.ones(site["fn"].batch_shape, dtype=value.dtype, device=value.device)
    scaled: Tensor = scale_and_mask(ones, site["scale"] / without, site["mask"])
    return scaled


def shared_plates(model_trace: Trace, guide_trace: Trace) -> Plates:
    """The plates that every site of both traces is in, the particles' apart."""
    return set.intersection(*map(_plates, _scored(model_trace, guide_trace)))


def subsampling(site: Site, plates: Plates) -> float:
    """Size over subsample size of these plates, multiplied over those that the site is in."""
    factor = 1.0
    for frame in site["cond_indep_stack"]:
        if (frame.name, frame.dim) in plates and frame.full_size is not None:
            factor *= frame.full_size / frame.size
    return factor


def log_weights(model_trace: Trace, guide_trace: Trace) -> tuple[Tensor, Tensor, float]:
    r"""Log-densities of model and guide per particle and independent element of the data.

    Their difference is the log-weight,

    .. math:: \log w_{kn} = \log p(x_n, z_{kn}) - \log q(z_{kn} | x_n).

    Elements are those of the plates that all sites share. Where some site is outside a plate (a
    global latent outside the data's), the weights do not factorise over it: it is summed first. A
    subsampled plate's factor belongs to the sum over elements, not into the weights.

    Args:
        model_trace: The model's trace.
        guide_trace: The guide's trace.

    Returns:
        log p and log q of one shape (K, ...), in which each dim that is not a shared plate's has
        size 1; and the factor that a sum over the elements is to be multiplied by.
    """
    plates = shared_plates(model_trace, guide_trace)
    sites = _scored(model_trace, guide_trace)
    log_p, log_q = _total(model_trace, plates), _total(guide_trace, plates)
    if not any(frame.name == PARTICLES for site in sites for frame in site["cond_indep_stack"]):
        log_p, log_q = log_p.unsqueeze(0), log_q.unsqueeze(0)
    log_p, log_q = torch.broadcast_tensors(log_p, log_q)
    return log_p, log_q, subsampling(sites[0], plates)


def _samples(trace: Trace) -> list[tuple[str, Site]]:
    """The sites that score, kept with the trace: a step asks for them thirty times."""
    known = getattr(trace, "_scoring_sites", None)
    if known is not None and known[0] == len(trace.nodes):
        return list(known[1])
    found = []
    for name, site in trace.nodes.items():
        # Deterministic sites and the choice of a plate's rows are samples to Pyro, though they
        # score nothing.
        scores = site["type"] == "sample" and not site["infer"].get("_deterministic")
        if scores and not site_is_subsample(site):
            found.append((name, site))
    trace._scoring_sites = len(trace.nodes), found
    return found


def _scored(*traces: Trace) -> list[Site]:
    return [site for trace in traces for _, site in _samples(trace)]


def _plates(site: Site) -> Plates:
    frames = (frame for frame in site["cond_indep_stack"] if frame.vectorized)
    return {(frame.name, frame.dim) for frame in frames if frame.name != PARTICLES}


def log_densities(trace: Trace, plates: Plates) -> dict[str, Tensor]:
    """Each site's log-density, summed over all dims but the particles' and the given plates'.

    Args:
        trace: Of a model or a guide, its log-probabilities computed.
        plates: As of ``shared_plates``.

    Returns:
        By the site's name, in the trace's order; summed dims have size 1.
    """
    found = {}
    for name, site in _samples(trace):
        kept = {dim for _, dim in plates}
        kept |= {f.dim for f in site["cond_indep_stack"] if f.name == PARTICLES}
        log_prob: Tensor = site["log_prob"]
        summed = [dim for dim in range(-log_prob.dim(), 0) if dim not in kept]
        if summed:
            log_prob = log_prob.sum(summed, keepdim=True)
        found[name] = log_prob / subsampling(site, plates)
    return found


def _total(trace: Trace, plates: Plates) -> Tensor:
    terms = log_densities(trace, plates).values()
    return reduce(torch.add, terms) if terms else torch.zeros(())


def _family(site: Site) -> str:
    fn = site["fn"]
    while hasattr(fn, "base_dist"):
        fn = fn.base_dist
    return type(fn).__name__
