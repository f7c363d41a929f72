"""Every sentence that training says of a run before, while and after it trains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pyro_vae_cli.evaluate import _nats
from pyro_vae_cli.fit import _tell_best, _tell_score
from torch import Tensor, nn

import pyro_vae as pv
from pyro_vae import warning_signs
from pyro_vae.history import History
from pyro_vae.training import notes

from .runs import Ignoring


def _vae(obs: Any = "normal", net: Any = None, **more: Any) -> pv.VAE:
    return pv.VAE((1, 28, 28), 5, obs, net or pv.networks.MLP(hidden=8), **more)


def _optimal(scope: str) -> pv.Head:
    return pv.observations.get("normal-optimal-sigma", scale=scope)


def _blocks() -> Tensor:
    """Images of levels 0 and 64, which are the numbers 1/512 and 129/512."""
    return torch.tensor([0, 64], dtype=torch.uint8)[:, None, None, None].repeat(5, 1, 28, 28)


def _dead() -> str | None:
    vae = _vae()
    with torch.no_grad():
        for parameter in vae.encoder.parameters():
            parameter.fill_(-1.0)
    return warning_signs.exploded(vae, _blocks(), [{"kl": 5e4}], 5, 1.0)


def _ignored() -> str | None:
    record = {"step": 900, "active_units": 0, "beta": 4.0, "kl_per_latent": [0.002, 0.0]}
    return warning_signs.collapsed([record] * 3, 5)


def _fell(vae: pv.VAE) -> str | None:
    scores = [*(100.0 * i for i in range(11)), *[840.0] * 5]
    held_out = [{"epoch": i, "elbo": score} for i, score in enumerate(scores, 1)]
    training = [{"epoch": i, "elbo": 100.0 * i} for i in range(16)]
    return warning_signs.overfitting(vae, training, held_out, "elbo")


def _flat(scope: str) -> str | None:
    vae = _vae(_optimal(scope), (nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), Ignoring()))
    rising = [{"elbo": float(i)} for i in range(3)]
    return warning_signs.worse_than_mean_image(vae, _blocks(), rising, "elbo")


def _measured() -> str | None:
    """A σ of 1/8 in all sites but one, which has 1/4."""
    variance = torch.full((1, 28, 28), 1 / 64)
    variance[0, 0, 0] = 1 / 16
    vae = _vae(pv.observations.get("normal", scale=pv.Param("dimension", source="data")))
    vae.likelihood.estimate(variance)
    return notes.scale_note(vae)


def _sampled(own: bool) -> str | None:
    vae = _vae(prior="mixture:2", posterior="full")
    if own:
        vae.prior_spec = vae.posterior_spec = None
    return notes.kl_note(vae, _blocks())


MEAN = (
    "diverging: the loss falls while the squared error of its mean, 0.155 per pixel, is above the "
    "mean image's 0.0156: with σ per {} the error's own, hitting the commonest value exactly pays "
    "more than any picture: share σ more widely (--sigma-per {})"
)
FELL = (
    "overfitting: the held-out elbo was best at epoch 11 (1000.0) and has lost 16% of what it had "
    "gained, while training's has risen: "
)
LOSS = "σ is computed from the errors that it scores: a loss and no likelihood"
SIGNS: dict[str, tuple[Callable[[], str | None], str | None]] = {
    "a dead encoder": (_dead, "learning-rate-too-high: the KL reached 5e+04 nats in its first "
                       "steps; 100% of the encoder's units are 0 for every image: start anew with "
                       "--lr 0.001"),
    "silent latents": (_ignored, "collapsed: 0 of 5 units are active, the largest KL of one is "
                       "0.002 nats, although the forecast is not collapse: a decoder that uses z, "
                       "another --seed, or --beta linear:0,4,epochs=10"),
    "a fall with σ per image": (
        lambda: _fell(_vae("normal-learned-sigma")), f"{FELL}share σ more widely (--sigma-per "
        "dataset), add --dropout, or stop earlier (--patience)",
    ),
    "a fall with a fixed σ and networks of one's own": (
        lambda: _fell(_vae("normal", (nn.Linear(784, 10), nn.Linear(5, 784)))),
        f"{FELL}stop earlier (--patience)",
    ),
    "a fall of a scale that is a location": (
        lambda: _fell(_vae("lognormal")), f"{FELL}add --dropout, or stop earlier (--patience)",
    ),
    "one picture, with each pixel's σ": (
        lambda: _flat("pixel"), MEAN.format("pixel", "image or batch")
    ),
    "one picture, with each image's σ": (lambda: _flat("image"), MEAN.format("image", "batch")),
    "a fixed σ": (
        lambda: notes.scale_note(_vae(pv.observations.get("normal", scale=0.1))),
        "σ = 0.1 fixed: minimises summed squared error + 2σ² β KL, where 2σ² = 0.02",
    ),
    "a fixed scale of a Laplace": (
        lambda: notes.scale_note(_vae(pv.observations.get("laplace", scale=0.2))),
        "σ = 0.2 fixed",
    ),
    "a σ from the data": (
        _measured, "σ = 0.1252 from the data (root mean square over sites, 0.12 to 0.25): "
        "minimises summed squared error + 2σ² β KL, where 2σ² = 0.03137",
    ),
    "a batch's own σ": (
        lambda: notes.scale_note(_vae(_optimal("batch"))),
        "σ is each batch's root mean square error, frozen outside training",
    ),
    "an image's own σ": (lambda: notes.scale_note(_vae(_optimal("image"))), LOSS),
    "a pixel's own σ": (
        lambda: notes.scale_note(_vae(_optimal("pixel"))),
        f"{LOSS}; per pixel it is log|x − mean|, which only the floor bounds: expect it to diverge "
        "to each pixel's commonest value (--sigma-per image or batch does not)",
    ),
    "a learned σ": (lambda: notes.scale_note(_vae("normal-learned-sigma")), None),
    "a KL that is sampled": (
        lambda: _sampled(False), "the KL of full to mixture:2 has no closed form: figures of it "
        "are sampled",
    ),
    "a KL of one's own parts": (
        lambda: _sampled(True), "the KL of your posterior to your prior has no closed form: "
        "figures of it are sampled",
    ),
    "ten held-out rows": (lambda: warning_signs.few_words(10, "row"), None),
}  # fmt: skip


@pytest.mark.parametrize("case", SIGNS)
def test_what_is_told_of_a_run(case: str) -> None:
    """The mean of levels 0 and 64 is 65/512; a picture of 1/2 is 255/512 and 127/512 off them."""
    made, said = SIGNS[case]
    assert made() == said


def _epochs(scores: list[float], part: str) -> History:
    """Held-out scores, of a model whose best constant prediction has 100 nats."""
    baselines = {"best constant prediction": 100.0}
    history = History(kind="density", baselines=baselines, part=part)
    for epoch, score in enumerate(scores, 1):
        known = {"record": "epoch", "epoch": epoch, "beta": 1.0, "elbo": score}
        history.records += [{**known, "split": "training"}, {**known, "split": "held-out"}]
    return history


AT_100 = "without a network: constant 100.0{} (fitted to training images)\n"
USELESS = "warning: worse than one constant prediction: what it learned is of no use yet\n"
LINEAR = "warning: worse than PCA of as many latents: diagnose says what is missing\n"
LAST: dict[str, tuple[list[float], str, bool, float | None, str]] = {
    "above the constant": (
        [1234.56], "validation", False, None,
        f"validation elbo: 1,234.6 nats per image\n{AT_100.format('')}",
    ),
    "below it": (
        [99.0], "test", False, 110.0,
        f"test elbo: 99.0 nats per image\n{AT_100.format(', PCA 110.0')}{USELESS}",
    ),
    "below PCA": (
        [105.0], "test", False, 1110.0,
        f"test elbo: 105.0 nats per image\n{AT_100.format(', PCA 1,110.0')}{LINEAR}",
    ),
    "the best weights kept": (
        [120.0, 110.0], "validation", True, None,
        f"validation elbo: 120.0 nats per image\n{AT_100.format('')}",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", LAST)
def test_what_stands_at_the_end(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    scores, part, best, ppca, said = LAST[case]
    _tell_score(_epochs(scores, part), "image", best, ppca)
    assert capsys.readouterr().err == said


FALLING = [1234.56, 7.0, 8.0, 1.0, 1.0, 2.0]
BEST = {
    ("validation", False): "best validation elbo: 1,234.6 at epoch 1 (--keep-best ends there)\n",
    ("held-out", False): "best held-out elbo: 1,234.6 at epoch 1 (--keep-best ends there)\n",
    ("test", False): "best held-out elbo: 1,234.6 at epoch 1 (of the test part; --keep-best "
    "chooses by a validation part)\n",
    ("validation", True): "best validation elbo: 1,234.6 at epoch 1, whose weights are kept\n",
}


@pytest.mark.parametrize(("part", "kept"), BEST)
def test_the_epoch_that_was_best(part: str, kept: bool, capsys: pytest.CaptureFixture[str]) -> None:
    _tell_best(_epochs(FALLING, part), kept)
    assert capsys.readouterr().err == BEST[part, kept]


NATS = [
    ("elbo", "     -5.00 nats per image ± 0.25, higher is better"),
    ("  lowest", "image 7 -60.2"),
    ("  IWAE, K = 50", "     -4.00 nats per image ± 0.20, below the collapsed one"),
    ("    its weights", "      0.91 k̂, above 0.7 for 62.0%; 3.2 of 50 draws count"),
    ("  if collapsed", "     -3.00 nats per image, NOT BEATEN by this run"),
    ("  probabilistic PCA", "     -2.50 fitted to 400 training images"),
    ("reconstruction", "     -2.00 nats per image"),
    ("kl", "      3.00 nats per image"),
    ("σ frozen at its training value", "     -6.00 elbo, nats per image"),
]
SCORES: dict[str, Any] = {
    "objective": None, "elbo": -5.0, "elbo_standard_error": 0.25,
    "lowest": [{"name": "image 7", "nats": -60.21}],
    "iwae": {"k": 50, "bound": -4.0, "standard_error": 0.2, "pareto_shape": 0.91,
             "effective_size": 3.2, "unreliable": 0.62},
    "collapsed": -3.0, "beats_collapsed": False,
    "ppca": {"log_likelihood": -2.5, "fitted_to": "400 training images"},
    "reconstruction": -2.0, "kl": 3.0,
    "frozen": {"name": "σ frozen at its training value", "elbo": -6.0},
}  # fmt: skip


def test_what_is_said_of_importance_weights() -> None:
    assert list(_nats(SCORES)) == NATS
    (beaten,) = [
        text for name, text in _nats({**SCORES, "beats_collapsed": True}) if "if c" in name
    ]
    assert beaten == BEATEN


BEATEN = "     -3.00 nats per image, best constant prediction"
