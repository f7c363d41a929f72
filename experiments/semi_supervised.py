"""Semi-supervised digits: does a classifier gain from images without labels?

    python -m experiments.semi_supervised

Of the 4,500 training digits 10 of each class keep their labels. The classifier of
examples/semi_supervised.py is trained on these 100 alone, and as the guide's q(y|x) of model M2
(Kingma et al. 2014), which has the other 4,400 digits besides. Both take the same steps, and have
the same dropout. Alone it is also tried with other dropout and with weight decay, and the setting
that is best on the held-out digits themselves is the one to beat. One JSON line for each draw of
labels gives the accuracies on the 500 held-out digits, the last line their means over draws and
the paired difference with its standard error.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

import pyro_vae as pv
from examples.semi_supervised import M2

SETTINGS = [(0.5, 0.0), (0.5, 1e-2), (0.0, 0.0), (0.0, 1e-2)]
"""Dropout and weight decay (Adam's, an L2 penalty) of the classifier alone."""
BATCH, LR = 50, 2e-3
"""Of the example's own training."""


def drawn(labels: Tensor, seed: int, each: int = 10) -> Tensor:
    """Whether an image keeps its label, bool (N,): so many of each class do."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=generator)
    chosen = [order[labels[order] == c][:each] for c in labels.unique()]
    return torch.zeros(len(labels), dtype=torch.bool).index_fill(0, torch.cat(chosen), True)


def accuracy(classifier: nn.Module, digits: pv.data.Data) -> float:
    """Share of the held-out digits that the classifier names rightly."""
    with torch.no_grad():
        named = classifier.eval()(digits.test / 255).argmax(1)
    return float((named == digits.test_labels).double().mean())


def alone(x: Tensor, y: Tensor, steps: int, dropout: float, decay: float) -> nn.Module:
    """The same classifier after the same steps, each of them on all labelled images."""
    classifier = M2().classifier
    for layer in classifier:
        if isinstance(layer, nn.Dropout):
            layer.p = dropout
    optimiser = torch.optim.Adam(classifier.parameters(), lr=LR, weight_decay=decay)
    for _ in range(steps):
        optimiser.zero_grad()
        cross_entropy(classifier(x / 255), y).backward()
        optimiser.step()
    return classifier


def compared(digits: pv.data.Data, seed: int, epochs: int) -> dict[str, float]:
    """Held-out accuracies for one draw of labels: of each setting alone, and of M2."""
    assert digits.train_labels is not None
    keeps = drawn(digits.train_labels, seed)
    x, y = digits.train[keeps], one_hot(digits.train_labels[keeps], 10).float()
    others = digits.train[~keeps]
    steps = epochs * math.ceil(len(others) / BATCH)
    found = {}
    for dropout, decay in SETTINGS:
        torch.manual_seed(seed)
        classifier = alone(x, y, steps, dropout, decay)
        found[f"alone, dropout {dropout:g}, decay {decay:g}"] = accuracy(classifier, digits)
    torch.manual_seed(seed)
    m2 = M2()
    m2.fit(x, y, others, epochs)
    return {**found, "m2": accuracy(m2.classifier, digits)}


def summary(rows: list[dict[str, float]]) -> dict[str, Any]:
    """Means over draws, and M2's gain on the best setting alone with its standard error."""
    means = {name: statistics.fmean(row[name] for row in rows) for name in rows[0]}
    best = max((name for name in means if name != "m2"), key=lambda name: means[name])
    gains = [row["m2"] - row[best] for row in rows]
    error = statistics.stdev(gains) / math.sqrt(len(gains))
    return {
        "means": means,
        "best alone": best,
        "gain": statistics.fmean(gains),
        "standard error": error,
        "beats by 2 standard errors": statistics.fmean(gains) > 2 * error,
    }


def main() -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="seeds")
    parser.add_argument("--epochs", type=int, default=18, help="of the images without labels")
    options = parser.parse_args()
    torch.set_num_threads(1)
    digits = pv.data.load("mnist-5k")
    rows = []
    for seed in options.draws:
        rows.append(compared(digits, seed, options.epochs))
        print(json.dumps({"draw": seed, **rows[-1]}), flush=True)
    if len(rows) > 1:
        print(json.dumps(summary(rows)))


if __name__ == "__main__":
    main()
