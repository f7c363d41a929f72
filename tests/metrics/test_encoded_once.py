"""How often an evaluation runs an image through the networks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import Tensor

from pyro_vae import VAE, evaluate, networks, observations

BINARY = observations.get("bernoulli", "binary")
SMALL, LADDER = networks.MLP(hidden=8), networks.Ladder(hidden=8)
MODELS: dict[str, tuple[int, Callable[[], VAE]]] = {
    "normal": (1, lambda: VAE((1, 28, 28), 3, "normal-learned-sigma", SMALL)),
    "mass": (1, lambda: VAE((1, 28, 28), 3, "discretized-logistic", SMALL)),
    # The mean is reconstructed from what is not made binary by chance.
    "binary": (2, lambda: VAE((1, 28, 28), 3, BINARY, SMALL)),
    # Once by the guide, and once for q(z|x) as one distribution.
    "hierarchy": (2, lambda: VAE((1, 28, 28), (3, 2), "normal", LADDER)),
}


@pytest.mark.parametrize("name", MODELS)
def test_an_image_is_encoded_at_most_twice(name: str, few: Tensor) -> None:
    passes, make = MODELS[name]
    vae = make()
    seen: list[int] = []
    vae.encoder.register_forward_hook(lambda module, inputs, out: seen.append(len(inputs[0])))
    evaluate(vae, few)
    assert sum(seen) == passes * len(few)


def test_latents_are_decoded_once_for_all_scores_but_calibration(few: Tensor) -> None:
    vae = MODELS["normal"][1]()
    decoded: list[int] = []
    vae.decoder.register_forward_hook(lambda module, inputs, out: decoded.append(len(out)))
    scores = evaluate(vae, few)
    assert scores["mass_bits_per_dim"] is not None
    assert {"mean", "sample", "mode", "parameter"} <= scores["reconstructions"].keys()
    # The ELBO's draws, the codes, and the draws of those whose pixels are looked at once more.
    assert sum(decoded) == 2 * len(few) + scores["calibration"]["images"]
