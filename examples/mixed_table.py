"""A table with real, count, binary and categorical columns and missing entries, on one latent."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import SVI, Trace_ELBO
from sklearn.datasets import load_diabetes
from torch import Tensor
from torch.nn.functional import one_hot

import pyro_vae as pv


def table() -> dict[str, Tensor]:
    """442 patients (Efron et al. 2004): blood values, age, sex, how the disease went on."""
    data, target = load_diabetes(return_X_y=True, scaled=False)
    data, target = torch.tensor(data).float(), torch.tensor(target).float()
    blood = data[:, 2:]
    third = torch.bucketize(target, target.quantile(torch.tensor([1 / 3, 2 / 3])))
    return {
        "blood": (blood - blood.mean(0)) / blood.std(0),  # real, 8 columns
        "age": data[:, :1],  # a count of years
        "sex": data[:, 1:2] - 1,  # 0 or 1
        "course": third[:, None].float(),  # 0, 1 or 2: light, middling, grave
    }


def main(epochs: int = 300, images: int | None = None) -> dict[str, float]:
    """Train on this many rows (None: 342), a tenth of them missing; then predict the course."""
    pyro.set_rng_seed(0)
    order = torch.randperm(442)
    train = {name: column[order[:342][:images]] for name, column in table().items()}
    test = {name: column[order[342:]] for name, column in table().items()}
    mask = {name: torch.rand(column.shape) < 0.9 for name, column in train.items()}

    course = pv.Head.of(dist.Categorical, logits=(3,))
    parts = {
        "blood": pv.Part((8,), "real-normal"),
        "age": pv.Part((1,), "negative-binomial"),
        "sex": pv.Part((1,), "bernoulli"),
        "course": pv.Part((1,), course, seen=lambda x: one_hot(x.long()[:, 0], 3).float()),
    }
    vae = pv.VAE(parts, latent_dim=3, net=pv.networks.MLP(hidden=32))
    svi = SVI(vae.model, vae.guide, pyro.optim.Adam({"lr": 3e-3}), Trace_ELBO())
    for _ in range(epochs):
        svi.step(train, mask=mask)

    known = {name: column for name, column in test.items() if name != "course"}
    p = vae.decode(vae.encode(known).mean)["course"]  # a part that is left out is missing
    right = (p.base_dist.probs.argmax(-1) == test["course"]).float().mean().item()
    elbo = -svi.evaluate_loss(test) / len(test["age"])
    return {"held-out ELBO in nats per row": elbo, "courses predicted rightly, of 1": right}


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name}: {value:.4g}")
