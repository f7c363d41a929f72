"""Scores of a VAE of several things: by its sites, and part by part."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Distribution

from pyro_vae import elbo, warning_signs
from pyro_vae.data import Batch, context
from pyro_vae.history import objective_key
from pyro_vae.metrics.encodings import evaluating
from pyro_vae.metrics.programs import evaluate_programs
from pyro_vae.metrics.results import Scores
from pyro_vae.observed import Observed
from pyro_vae.vae import VAE

__all__: list[str] = []


def evaluate_parts(
    vae: VAE, batch: Batch, train: Batch | None, *, iwae: int | None, memory_budget: str | int
) -> Scores:
    """Scores of several things together, and of each.

    Args:
        vae: The model.
        batch: Its data.
        train: Training data, which the best constant predictions are found on; None: on ``batch``.
        iwae: K, to add the importance-weighted bound with K particles.
        memory_budget: What scoring may take: bytes, or such as ``"512MB"``.

    Returns:
        What ``evaluate_programs`` does, in nats per row;
        ``kind``, ``few``, ``baselines_from``, ``collapsed`` (the best constant predictions'
        log-probability) and ``beats_collapsed``; of each observed one of ``sites`` its own
        ``collapsed``; and ``parts``, by name what ``error_of_part`` says of the reconstruction
        and, under ``constant``, of the best constant prediction.
    """
    kind = vae.kind_on(batch)
    fitted = batch if train is None else train
    with evaluating(vae):
        scores = evaluate_programs(
            vae.model, vae.guide, batch, iwae=iwae, memory_budget=memory_budget
        )
        constants = elbo.best_constants(vae, fitted)
        parts, collapsed = {}, {}
        decoded = vae.decode(vae.code(batch), **context(batch))
        for name, observed, _, x, mask in vae.parts_of(vae.observe(batch)):
            part, constant = name.removeprefix("obs."), constants[name]
            guess = constant.head(constant.raw.expand(len(x), -1), observed.filled(x, mask))
            own = error_of_part(observed, decoded[part], x, mask)
            parts[part] = {**own, "constant": error_of_part(observed, guess, x, mask)}
            alone = Batch({part: x}, batch.covariates, None if mask is None else {part: mask})
            collapsed[name] = elbo.constant_score(vae, constants, alone)
    for name, value in collapsed.items():
        scores.sites[name]["collapsed"] = value
    total, of_constants = scores.pop("elbo"), sum(collapsed.values())
    loss = objective_key(kind) == "objective"
    return Scores(
        {
            "kind": kind,
            "few": warning_signs.few_words(len(batch), "row"),
            "baselines_from": "these images" if train is None else "the training images",
            **scores,
            "elbo": None if loss else total,
            "objective": total if loss else None,
        },
        collapsed=of_constants,
        beats_collapsed=total > of_constants,
        parts=parts,
    )


def error_of_part(
    observed: Observed, p: Distribution, x: Tensor, mask: Tensor | None
) -> dict[str, float | int]:
    """How far a prediction is from what was observed.

    Args:
        observed: What the part is.
        p: p(x|z) of it, batch_shape (N,).
        x: As the observation takes it, (N, *shape).
        mask: True where it was observed, or None.

    Returns:
        ``observed``, how many values count; ``rmse`` of the mean in the data's unit, or, of
        classes, ``wrong``, the share of values that the mode misses.
    """
    there = torch.ones_like(x, dtype=torch.bool) if mask is None else mask
    counted = int(there.sum())
    # Of classes without an order, which are seen as a 1 among 0s, a mean says nothing.
    name = "wrong" if observed.levels.width(observed.head.interval) > 1 else "rmse"
    if not counted:
        return {"observed": 0, name: math.nan}
    if name == "wrong":
        return {"observed": counted, name: float((p.mode != x)[there].double().mean())}
    return {"observed": counted, name: float((p.mean - x)[there].double().square().mean().sqrt())}
