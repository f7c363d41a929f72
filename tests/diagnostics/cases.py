"""What evidence comes to, written by hand: the evidence is made up, so that figures are known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pyro_vae.diagnostics import Evidence
from pyro_vae.diagnostics.situations import Situation

HEALTHY = Evidence(
    images=200, low=0.0, high=1.0, shown_low=0.0, shown_high=0.9, active_units=5, latent_dim=5,
    kl=12.0, kl_per_latent=(4.0, 3.0, 2.0, 1.5, 1.5), error=0.2, training_error=0.18, spread=0.8,
    shuffled=4.0, prior_spread=0.9, score=1000.0, training_score=1010.0, constant=400.0,
    uniform=0.0, ppca=900.0, training_constant=410.0, constant_gain=612.0, sigma=0.1, rmse=0.11,
    kl_peak=40.0, beta=1.0, beta_wanted=1.0, fallen=0.05, gap=10.0, rising=0.001, doubled=20.0,
    gain_per_epoch=0.5, steps=3000, steps_per_epoch=30, gradient_norm=12.0, dead_units=0.3,
    saturated=0.25, finite=True, pressure=0.01, pressure_at_1=0.01, predicted=5,
    predicted_more=12, covered=0.6,
)  # fmt: skip
SETTINGS = {"epochs": 100, "batch_size": 50, "lr": 1e-3}
FINE = Situation(HEALTHY, SETTINGS, 784, "dataset", (0.0, 1.0), False, True)

Said = tuple[str, str, str]
"""A cause's code, its sentence and its mend."""
Case = tuple[dict[str, Any], dict[str, Any], str, list[Said]]
"""What the evidence and the situation have else, the first line, and the causes."""

POOR = {"error": 0.5, "training_error": 0.5}
DEAD = {
    "active_units": 0, "kl_per_latent": (0.001, 0.0), "error": 1.0, "training_error": 1.0,
    "spread": 0.01, "score": 399.0, "training_score": 400.0,
}  # fmt: skip
THIN = {"active_units": 2, "pressure": 0.784, "pressure_at_1": 0.001, "predicted": 2}
PARTLY = "partly-collapsed: 2 of 5 units are active, the largest KL of one is 4 nats"
COLLAPSED = "collapsed: 0 of 5 units are active, the largest KL of one is 0.001 nats"
OFF = "underfitted: the squared error is 0.5 of the mean image's"
PPCA = "probabilistic PCA with 5 latents"
EARLY = {
    **POOR, "error": 0.95, "training_error": 0.95, "steps": 120, "rising": 0.3, "spread": 0.2,
    "doubled": None, "gain_per_epoch": None,
}  # fmt: skip
SLOW = (
    "the squared error is 0.95 of the mean image's after 120 steps, and the last tenth of them "
    "still brought 30% of all gain"
)
SOON = "unfinished: training ended too soon"
TWO = "βσ² is 0.78 times the data's largest eigenvalue at β = {}: the forecast is 2 active units"
AVERAGED = "the reconstruction is averaged where the KL is summed"
BOTH = "the reconstruction is averaged over 784 pixels and the KL over 5 latents"
LOST = "the held-out score has lost {}"
GAP = "; the held-out score is 10 nats below the training score"


def _mean(beta: float, words: str, said: str) -> Case:
    """β that comes of a mean, at which two units of five are left."""
    causes = [("mean-reduction", f"β = {beta:g} is {words}: {said}", "--beta 1"),
              ("beta-too-large", TWO.format(f"{beta:g}"), "--beta 1")]  # fmt: skip
    return {**THIN, "beta": beta, "beta_wanted": beta}, {}, PARTLY, causes


CASES: dict[str, Case] = {
    "nothing": ({}, {}, "healthy: nothing speaks against it", []),
    "levels as floats": (
        {**POOR, "high": 254.6, "shown_high": 250.0}, {"floats": True}, OFF,
        [("data-range", "the data lie from 0 to 254.6 where the observation works from 0 to 1, its "
          "mean reaches from 0 to 250 of that",
          "--range 0,255 --scale-with-range --param loc=pixel,link=sigmoid (or uint8 images)")],
    ),
    "a scan in its own unit": (
        {**POOR, "low": -1024.0, "high": 3070.5, "shown_low": -900.0, "shown_high": 3000.0},
        {"floats": True, "location": "mean"}, OFF,
        [("data-range", "the data lie from -1024 to 3070.5 where the observation works from 0 to "
          "1, its mean reaches from -900 to 3e+03 of that",
          "--range -1024,3071 --scale-with-range --param mean=pixel,link=sigmoid")],
    ),
    "a range of 255 with a scale of 1": (
        {**POOR, "high": 255.0}, {"interval": (0.0, 255.0)}, OFF,
        [("data-range", "the data lie from 0 to 255 where the observation works from 0 to 255, its "
          "mean reaches from 0 to 0.9 of that", "--range 0,1 (or --scale-with-range)")],
    ),
    "the same of floats, which no range moves": (
        {**POOR, "high": 255.0}, {"interval": (0.0, 255.0), "floats": True}, OFF,
        [("data-range", "the data lie from 0 to 255 where the observation works from 0 to 255, its "
          "mean reaches from 0 to 0.9 of that", "--scale-with-range")],
    ),
    "a mean beyond the range": (
        {**POOR, "shown_high": 1.5}, {}, OFF,
        [("data-range", "the data lie from 0 to 1 where the observation works from 0 to 1, its "
          "mean reaches from 0 to 1.5 of that", "--param loc=pixel,link=sigmoid")],
    ),
    "the same without a location": (
        {**POOR, "shown_high": 1.5}, {"location": None}, OFF,
        [("data-range", "the data lie from 0 to 1 where the observation works from 0 to 1, its "
          "mean reaches from 0 to 1.5 of that",
          "an observation whose mean stays where the data are")],
    ),
    "a large learning rate": (
        {"kl_peak": 5123.0, "dead_units": 0.954}, {"settings": {"lr": 0.5}},
        "diverging: it gets worse while it trains",
        [("learning-rate-too-high", "the KL reached 5.12e+03 nats in its first steps; 95% of the "
          "encoder's units are 0 for every image", "--lr 0.001")],
    ),
    "weights that are not finite": (
        {"kl_peak": None, "dead_units": None, "finite": False, "ppca": None, "uniform": None}, {},
        "diverging: it gets worse while it trains",
        [("learning-rate-too-high", "weights or losses are not finite", "--lr 0.0001")],
    ),
    "a warm-up cut short": (
        {"beta": 0.3}, {}, SOON,
        [("warm-up-unfinished", "β has come to 0.3 of the 1 that its schedule ends at",
          "--beta 1, or a schedule that ends before training does")],
    ),
    "a warm-up to what would collapse": (
        {"beta": 20.0, "beta_wanted": 66.0, "pressure_at_1": 1.4}, {}, SOON,
        [("warm-up-unfinished", "β has come to 20 of the 66 that its schedule ends at",
          "--beta 0.07, or a schedule that ends before training does")],
    ),
    "a decoder that sees its image": (
        {"shuffled": 1.0}, {}, "collapsed: pictures do not depend on z",
        [("decoder-too-strong", "reconstructions are good (0.2 of the mean image's squared error) "
          "and do not depend on z (1.00 times the error with other images' z)",
          "a decoder that sees z alone, not the image it is to make")],
    ),
    "latents that move nothing": (
        {"spread": 0.012}, {},
        "collapsed: all inputs give about one picture (0.012 of the data's spread)", [],
    ),
    "pixels for β": _mean(784, "the number of pixels", AVERAGED),
    "batch × pixels for β": _mean(39200, "batch × pixels", AVERAGED),
    "pixels / latents for β": _mean(156.8, "pixels / latents", BOTH),
    "batch × pixels / latents for β": _mean(7840, "batch × pixels / latents", BOTH),
    "66 distances, of which β = 1 collapses as well": (
        {**DEAD, "beta": 66.0, "beta_wanted": 66.0, "pressure": 92.4, "pressure_at_1": 1.4,
         "predicted": 0}, {"dims": 66}, COLLAPSED,
        [("mean-reduction", f"β = 66 is the number of pixels: {AVERAGED}", "--beta 0.07"),
         ("beta-too-large", "βσ² is 92 times the data's largest eigenvalue at β = 66: the forecast "
          "is 0 active units", "--beta 0.07")],
    ),
    "a large σ": (
        {**DEAD, "pressure": 2.5, "pressure_at_1": 2.5, "predicted": 0}, {"scale": "fixed"},
        COLLAPSED,
        [("sigma-too-large", "σ² alone is 2.5 times the data's largest eigenvalue, and the "
          "forecast for this βσ² is 0 active units",
          "--sigma-per dataset (or a smaller --sigma)")],
    ),
    "a large σ and a large β": (
        {**DEAD, "pressure": 10.0, "pressure_at_1": 2.5, "predicted": 0, "beta": 4.0,
         "beta_wanted": 4.0}, {"scale": "fixed"}, COLLAPSED,
        [("sigma-too-large", "σ² alone is 2.5 times the data's largest eigenvalue, and the "
          "forecast for this βσ² is 0 active units",
          "--sigma-per dataset --beta 1 (or a smaller --sigma)"),
         ("beta-too-large", "βσ² is 10 times the data's largest eigenvalue at β = 4: the forecast "
          "is 0 active units", "--beta 0.04")],
    ),
    "a decoder that ignores z": (
        {**DEAD, "shuffled": 1.0, "prior_spread": 0.01}, {}, COLLAPSED,
        [("encoder-ignored", "nothing asks for collapse (βσ² is 0.01 times what would), yet every "
          "z gives the same picture: the spread of samples is 0.010 of the data's",
          "a decoder that uses z, another --seed, or --beta linear:0,1,epochs=10")],
    ),
    "the same, of six epochs and no forecast": (
        {**DEAD, "shuffled": 1.0, "prior_spread": 0.01, "pressure": None, "steps_per_epoch": 500},
        {"settings": {"epochs": 6}}, COLLAPSED,
        [("encoder-ignored", "nothing asks for collapse, yet every z gives the same picture: the "
          "spread of samples is 0.010 of the data's", "a decoder that uses z, another --seed, or "
          "--beta linear:0,1,epochs=10 --epochs 20")],
    ),
    "four epochs": (EARLY, {}, SOON, [("not-trained-enough", SLOW, "--epochs 67")]),
    "four epochs at a small learning rate": (
        EARLY, {"settings": {**SETTINGS, "lr": 1e-4}}, SOON,
        [("not-trained-enough", SLOW, "--epochs 67 --lr 0.001")],
    ),
    "four epochs, and then patience ended it": (
        EARLY, {"settings": {**SETTINGS, "patience": 5}}, SOON,
        [("not-trained-enough", SLOW, "--epochs 67 without --patience")],
    ),
    "half of all gain in the second half": (
        {"doubled": 300.0}, {}, SOON,
        [("not-trained-enough", "it was trained for 3000 steps, the second half of them brought "
          "300 nats per image, the last ones 0.5 nats an epoch", "--epochs 300")],
    ),
    "two doublings below PCA": (
        {"ppca": 1100.0, "doubled": 50.0}, {},
        f"unfinished: {PPCA} has 1,100.0 nats per image, this has 1,000.0",
        [("not-trained-enough", "it was trained for 3000 steps, the last ones 0.5 nats an epoch; "
          f"its 1,000.0 nats per image are below the 1,100.0 of {PPCA}", "--epochs 400")],
    ),
    "a σ that is each pixel's error": (
        {"error": 2.0, "training_error": 1.9}, {"scale": "residual-pixel"},
        "diverging: it gets worse while it trains",
        [("sigma-too-flexible", "the squared error is 2 of the mean image's while the loss falls, "
          "with σ per pixel", "--sigma-per batch")],
    ),
    "a σ per image that fits training images": (
        {"fallen": 0.3}, {"scale": "image"},
        "overfitted: " + LOST.format("30% of what it had gained"),
        [("sigma-too-flexible", LOST.format("30% of what it had gained, with σ per image"),
          "--sigma-per dataset"),
         ("trained-too-long", LOST.format("30% of what it had gained") + GAP,
          "--patience 5 --keep-best, --dropout 0.2 or more images")],
    ),
    "a held-out score that fell below its start, of one's own networks": (
        {"fallen": 1.5, "gap": None}, {"dropout": False},
        "overfitted: " + LOST.format("more than it had gained"),
        [("trained-too-long", LOST.format("more than it had gained"),
          "--patience 5 --keep-best or more images")],
    ),
    "unseen images below a constant": (
        {"score": 350.0, "ppca": None}, {},
        "overfitted: training images have 1010 nats, held-out ones 350, where the best constant "
        "prediction has 400",
        [("trained-too-long", "training images have 1010 nats, held-out ones 350, where the best "
          f"constant prediction has 400{GAP}", "fewer epochs, --dropout 0.2 or more images")],
    ),
    "unseen images whose pictures are worse": (
        {"error": 0.5, "training_error": 0.2}, {},
        "overfitted: the squared error of held-out images is 0.5 of the mean image's, that of "
        "training images 0.2",
        [("trained-too-long", "the squared error of held-out images is 0.5 of the mean image's, "
          f"that of training images 0.2{GAP}", "fewer epochs, --dropout 0.2 or more images")],
    ),
    "five latents where there could be forty": (
        {**POOR, "covered": 0.2, "predicted_more": 40}, {}, OFF,
        [("latents-too-few", "all 5 units are active, the forecast for more is 40, of whose "
          "variance as many directions as there are units hold 20%; the squared error is 0.5 of "
          "the mean image's", "--latent-dim 40")],
    ),
    "seventy latents, and still too few": (
        {**POOR, "covered": 0.3, "predicted_more": 250, "latent_dim": 70, "active_units": 70}, {},
        OFF,
        [("latents-too-few", "all 70 units are active, the forecast for more is 250, of whose "
          "variance as many directions as there are units hold 30%; the squared error is 0.5 of "
          "the mean image's", "--latent-dim 250")],
    ),
    "a small β": (
        {"beta": 0.01, "beta_wanted": 0.01, "kl": 300.0, "ppca": 1200.0}, {},
        f"underfitted: {PPCA} has 1,200.0 nats per image, this has 1,000.0",
        [("beta-too-small", f"its 1,000.0 nats per image are below the 1,200.0 of {PPCA}: at β = "
          "0.01 the KL was let grow to 300 nats", "--beta 1")],
    ),
    "a small β where β = 1 collapses": (
        {"beta": 0.01, "beta_wanted": 0.01, "kl": 300.0, "ppca": 1200.0, "pressure_at_1": 8.0}, {},
        f"underfitted: {PPCA} has 1,200.0 nats per image, this has 1,000.0",
        [("beta-too-small", f"its 1,000.0 nats per image are below the 1,200.0 of {PPCA}: at β = "
          "0.01 the KL was let grow to 300 nats", "--beta 0.06")],
    ),
    "a fixed σ of a fiftieth of the error": (
        {"sigma": 0.002}, {"scale": "fixed"},
        "underfitted: the squared error is 0.2 of the mean image's",
        [("sigma-off", "σ is fixed at 0.002 where the error is 0.11, in units of the range",
          "--sigma-per dataset")],
    ),
    "a fixed σ of a third of the error, below everything": (
        {"sigma": 0.04, "uniform": 1200.0, "ppca": 1100.0, "constant": 1050.0,
         "training_constant": 1060.0, "doubled": 0.0}, {"scale": "fixed"},
        "underfitted: a uniform distribution has 1,200.0 nats per image, this has 1,000.0",
        [("sigma-off", "σ is fixed at 0.04 where the error is 0.11, in units of the range; its "
          "1,000.0 nats per image are below the 1,200.0 of a uniform distribution, the 1,100.0 of "
          f"{PPCA} and the 1,050.0 of the best constant prediction", "--sigma-per dataset")],
    ),
    "far below PCA for no known reason": (
        {"ppca": 5000.0, "doubled": 0.0}, {},
        f"underfitted: {PPCA} has 5,000.0 nats per image, this has 1,000.0",
        [("no-better-than-a-baseline", f"its 1,000.0 nats per image are below the 5,000.0 of {PPCA}"
          ", and 3000 steps gain too little to get there",
          "--lr 0.0003, or another --obs or --net")],
    ),
    "the same from the networks' own start, without records": (
        {"ppca": 5000.0, "doubled": None, "steps": None},
        {"settings": {**SETTINGS, "init_from_data": False}},
        f"underfitted: {PPCA} has 5,000.0 nats per image, this has 1,000.0",
        [("no-better-than-a-baseline",
          f"its 1,000.0 nats per image are below the 5,000.0 of {PPCA}",
          "--lr 0.0003 --init-from-data, or another --obs or --net")],
    ),
}  # fmt: skip


def situation(case: str) -> Situation:
    of_evidence, ofsituation, *_ = CASES[case]
    return replace(FINE, evidence=replace(HEALTHY, **of_evidence), **ofsituation)
