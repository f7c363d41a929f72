"""Every observation on the embedded digits at default settings.

    python -m experiments.digits --seeds 3 --epochs 60

prints, for each observation and seed, active units, the held-out MSE of the mean reconstruction
(per pixel on [0, 1]), spread over inputs, and the held-out and training ELBO in nats per image.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import torch

import pyro_vae as pv

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "bernoulli": ("bernoulli", {}),
    "continuous-bernoulli": ("continuous-bernoulli", {}),
    "normal": ("normal", {}),
    "normal, learned per dataset": ("normal-learned-sigma", {"scale": "dataset"}),
    "normal, learned per dimension": ("normal-learned-sigma", {"scale": "dimension"}),
    "normal, learned per image": ("normal-learned-sigma", {"scale": "image"}),
    "normal, learned per pixel": ("normal-learned-sigma", {"scale": "pixel"}),
    "beta": ("beta", {}),
}


def run(name: str, parameters: dict[str, Any], net: str, seed: int, epochs: int) -> dict[str, Any]:
    """Train and score one case."""
    digits = pv.data.load("mnist-5k")
    torch.manual_seed(seed)
    vae = pv.VAE((1, 28, 28), 20, pv.observations.get(name, **parameters), net)
    # The test part is reported: nothing is chosen by it.
    history = pv.fit(vae, digits.train, digits.test, epochs=epochs, seed=seed, keep_best=False)
    scores = pv.evaluate(vae, digits.test)
    held_out = [record[history.objective] for record in history.epochs("held-out")]
    return {
        "active_units": scores["active_units"],
        "mse": round(scores["mse"], 4),
        "spread": round(scores["spread"], 3),
        "held_out": round(scores[history.objective], 1),
        "held_out_best": round(max(held_out), 1),
        "training": round(history.epochs()[-1][history.objective], 1),
        "collapsed": round(scores["collapsed"], 1),
        "warnings": [message.split(":")[0] for message in history.warnings],
    }


def main() -> None:
    """Print one JSON line per run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--net", default="mlp")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=list(CASES))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for case in options.only:
        for seed in range(options.seeds):
            row = run(*CASES[case], options.net, seed, options.epochs)
            print(json.dumps({"obs": case, "net": options.net, "seed": seed, **row}), flush=True)


if __name__ == "__main__":
    main()
