"""Digits of a class that is asked for: what the prior must know of it.

    python -m experiments.asked_digits
    python -m experiments.asked_digits --epochs 1 --only 2

trains conditional VAEs of the embedded digits, as ``fit --condition labels --obs bernoulli`` does,
and prints a line of JSON for each: the share of 1,000 mean pictures, and of 1,000 samples, that the
data set's own classifier takes for the class asked for. The classes asked for are those of the
held-out digits, one after the other; no digit of those decides anything in training.
"""

from __future__ import annotations

import argparse
import json
import time

import torch

import pyro_vae as pv

SETTINGS = (
    {"prior": "standard-normal", "latent_dim": 2, "depth": 2},
    {"prior": "diagonal", "latent_dim": 8},
    {"prior": "full", "latent_dim": 2, "depth": 2},
    {"prior": "full", "latent_dim": 4, "depth": 2},
)


def main() -> None:
    """Train, draw, and print a line for each setting."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="Of the settings, by its place from 0.")
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    chosen = SETTINGS if asked.only is None else SETTINGS[asked.only : asked.only + 1]
    for setting in chosen:
        began = time.monotonic()
        common = {"condition": "labels", "obs": "bernoulli", "seed": asked.seed}
        config = pv.RunConfig.of(**common, **setting, epochs=asked.epochs)
        vae, history, data = config.run()
        judge = pv.metrics.classifier_for(data)
        shares = {
            kind: pv.metrics.sample_scores(vae, data.test, judge, 1000, kind)["right_class"]
            for kind in ("mean", "sample")
        }
        told = {**setting, "epochs": asked.epochs, "right": shares}
        # Of grey pixels a Bernoulli is a loss: what is given has its name.
        told[f"held_out_{history.objective}"] = history.epochs("held-out")[-1][history.objective]
        seconds = round(time.monotonic() - began)
        print(json.dumps({**told, "classifier": judge.accuracy, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
