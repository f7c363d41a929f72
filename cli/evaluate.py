"""``pyro-vae evaluate``."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from .classify import cache_option
from .options import (
    as_json,
    data_options,
    echo_json,
    load_run,
    own_parts,
    tell_changed,
)
from .pages import explained

__all__ = ["evaluate"]

WIDTH = 80
LABEL = 24
_FIGURES = 46  # what stands beside a column's name
NOT_BEATEN = "NOT BEATEN by this run"
PARTS = ("test", "validation", "train")
KINDS = ("sample", "mean", "mode", "parameter")
COLUMNS = ("mse", "mae", "psnr", "ssim", "dark", "light", "darkest", "lightest", "sharpness")


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@data_options
@own_parts
@click.option(
    "--iwae",
    type=int,
    metavar="K",
    help="Add the importance-weighted bound with K particles.",
)
@click.option(
    "--memory-budget",
    default="512MB",
    show_default=True,
    metavar="SIZE",
    help="What decoding particles may take; the scores do not depend on it.",
)
@click.option(
    "--samples",
    type=int,
    metavar="N",
    help="Add scores of N samples by classifier-FID, -KID and -IS; trains the data's classifier "
    "if it is not in the cache.",
)
@click.option(
    "--kind",
    type=click.Choice(KINDS),
    default="sample",
    show_default=True,
    help="What of p(x|z) --samples scores.",
)
@cache_option
@click.option(
    "--part",
    type=click.Choice(PARTS),
    default="test",
    show_default=True,
    help="Which part of the data to score: choices in training looked at validation, so that test "
    "is to be reported. Of another than test nothing is left in the RUN.",
)
@click.option(
    "--labels/--no-labels",
    default=None,
    help="Colour the latents by the data's labels [where there are any].",
)
@as_json
def evaluate(
    run: Path,
    data: str | None,
    data_root: Path | None,
    download: bool,
    iwae: int | None,
    memory_budget: str,
    samples: int | None,
    kind: str,
    cache: Path | None,
    part: str,
    labels: bool | None,
    as_json: bool,
    **own: str | None,
) -> None:
    """Score a RUN on the test part of its data, with the baselines that keep the scores honest.

    Leaves evaluation.json and pictures in the RUN: latents, traversals, interpolations, kinds of
    reconstructions and calibration. Scores of an earlier call that were not asked for again stay
    in evaluation.json, where they are of the same weights and images.
    """
    import pyro_vae as pv
    from pyro_vae import ours
    from pyro_vae.data.bits import bits_words
    from pyro_vae.metrics import (
        check_samples,
        classifier_for,
        sample_scores,
        write_evaluation,
    )
    from pyro_vae.metrics.report import WRITTEN
    from pyro_vae.metrics.score_table import units_of
    from pyro_vae.training.run_data import load_data

    vae = load_run(run, own)
    if samples is not None and vae.joint:
        raise pv.InputError("--samples is for images, the run is of a table")
    ours.check(run, ours.RUN, WRITTEN)
    images, described = load_data(data, data_root, download, pv.training.read_config(run))
    shown, classes = getattr(images, part), getattr(images, f"{part}_labels")
    if shown is None:
        raise pv.InputError(
            f"--part validation: {run} has no validation part of {described['name']}: "
            "fit --validation makes one"
        )
    if labels and classes is None:
        raise pv.InputError(f"--labels needs labels, {described['name']} has none")
    if samples is not None:
        check_samples(vae, images._replace(test=shown, test_labels=classes), samples, kind)
    scores: dict[str, Any] = {"data": described["name"], "changed": described["changed"]}
    scores |= {"part": part, "binarised": described["binarised"], "samples": None}
    scores |= pv.evaluate(vae, shown, train=images.train, iwae=iwae, memory_budget=memory_budget)
    for each in scores["lowest"]:
        each["name"] = images.name(part, each["image"])
    tell_changed(described)
    if samples is not None:
        judge = classifier_for(images, cache, lambda line: click.echo(line, err=True))
        scores["samples"] = sample_scores(vae, shown, judge, samples, kind)
    if part == "test":
        classes = None if labels is False else classes
        for path in write_evaluation(vae, shown, scores, run, classes):
            click.echo(path, err=True)
    if as_json:
        echo_json({**scores, "units": dict(units_of(scores))})
        return
    if vae.joint:
        title, unit = Path(described["name"]).name, "rows"
    else:
        title, unit = vae.obs.title, "images"
    shown_part = f"the {'training' if part == 'train' else part} part"
    click.echo(f"{title}, a {scores['kind']} on these {scores['images']} {unit}, {shown_part}")
    bits = described["binarised"]
    if bits is not None:
        click.echo(bits_words(bits))
    if part in (bits or {}):
        text = f"{bits[part]['grey']:10.2f} nats per image on their bits"
        click.echo(f"{'  the grey images':<{LABEL}}{text}")
    if scores["few"] is not None:
        click.echo(scores["few"])
    for line in (*_lines(scores), explained("evaluate")):
        click.echo(line)


def _lines(scores: dict[str, Any]) -> Iterator[str]:
    if "parts" in scores:
        for label, text in _nats(scores, "row"):
            yield from _row(label, text)
        yield from _parts(scores)
        return
    for rows in (_nats(scores), _bits(scores), _latents(scores), _pictures(scores)):
        for label, text in rows:
            yield from _row(label, text)
    yield from _kinds(scores["reconstructions"], scores["images"])
    for label, text in (*_calibration(scores["calibration"]), *_samples(scores["samples"])):
        yield from _row(label, text)


def _row(label: str, text: str) -> list[str]:
    """A line, or several where the text is long."""
    # Not by textwrap alone: it would drop the blanks that align numbers.
    if len(text) <= WIDTH - LABEL:
        return [f"{label:<{LABEL}}{text}"]
    indent = " " * LABEL
    return textwrap.wrap(text, WIDTH, initial_indent=f"{label:<{LABEL}}", subsequent_indent=indent)


def _error(value: float | None, digits: int) -> str:
    return "" if value is None else f" ± {value:.{digits}f}"


def _parts(scores: dict[str, Any]) -> Iterator[str]:
    """What there is of each column, a line each."""
    units = sum(site["units"] for site in scores["sites"].values() if "kl" in site)
    yield f"{'active units':<{LABEL}}{scores['active_units']:10d} of {units}"
    shown = {name: _cut(name, WIDTH - _FIGURES - 2) for name in scores["parts"]}
    width = max(LABEL, *(len(name) + 2 for name in shown.values()))
    yield f"{'column':<{width}}{'nats':>10}{'constant':>10}{'error':>10}{'constant':>10}"
    for name, part in scores["parts"].items():
        site = scores["sites"][f"obs.{name}"]
        kind = "rmse" if "rmse" in part else "wrong"
        nats = f"{site['reconstruction']:10.2f}{site['collapsed']:10.2f}"
        errors = (f"{_number(error[kind]):>10}" for error in (part, part["constant"]))
        yield f"{'  ' + shown[name]:<{width}}{nats}{''.join(errors)} {kind}"


def _cut(name: str, width: int) -> str:
    """A name of a file's in so many letters: long ones are alike at their start or end."""
    name = name if name.isprintable() else repr(name)
    half = (width - 1) // 2
    return name if len(name) <= width else f"{name[: width - 1 - half]}…{name[-half:]}"


def _nats(scores: dict[str, Any], unit: str = "image") -> Iterator[tuple[str, str]]:
    name = "elbo" if scores["objective"] is None else "objective"
    error = _error(scores["elbo_standard_error"], 2)
    yield name, f"{_figure(name, scores[name], unit)}{error}, higher is better"
    each = (f"{_cut(one['name'], 30)} {one['nats']:.1f}" for one in scores["lowest"][:3])
    yield "  lowest", ", ".join(each)
    if scores["iwae"] is not None:
        iwae = scores["iwae"]
        mark = "" if iwae["bound"] > scores["collapsed"] else ", below the collapsed one"
        error = _error(iwae["standard_error"], 2)
        yield f"  IWAE, K = {iwae['k']}", f"{_figure('bound', iwae['bound'], unit)}{error}{mark}"
        if iwae.get("pareto_shape") is not None:
            few = f"; {iwae['effective_size']:.1f} of {iwae['k']} draws count"
            text = f"{iwae['pareto_shape']:10.2f} k̂, above 0.7 for {iwae['unreliable']:.1%}{few}"
            yield "    its weights", text
    mark = "best constant prediction" if scores["beats_collapsed"] else NOT_BEATEN
    yield "  if collapsed", f"{_figure('collapsed', scores['collapsed'], unit)}, {mark}"
    if scores.get("ppca") is not None:
        ppca = scores["ppca"]
        yield "  probabilistic PCA", f"{ppca['log_likelihood']:10.2f} fitted to {ppca['fitted_to']}"
    for name in ("reconstruction", "kl"):
        yield name, _figure(name, scores[name], unit)
    if scores.get("frozen") is not None:
        yield scores["frozen"]["name"], f"{scores['frozen']['elbo']:10.2f} elbo, nats per {unit}"


def _figure(name: str, value: float, per: str) -> str:
    from pyro_vae.metrics.score_table import SCORES

    number, _, unit = SCORES[name].figure(value, per).partition(" ")
    return f"{number:>10} {unit}"


def _bits(scores: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if scores["bits_per_dim"] is None:
        yield "bits per dimension", f"{'-':>10} {scores['no_bits']}"
        return
    beaten = scores["bits_per_dim"] < scores["collapsed_bits_per_dim"]
    yield "bits per dimension", f"{scores['bits_per_dim']:10.3f} from the elbo, lower is better"
    if scores["mass_bits_per_dim"] is not None:
        yield "  by exact masses", f"{scores['mass_bits_per_dim']:10.3f} from the cdf at the levels"
    iwae, ppca = scores["iwae"], scores["ppca"]
    if iwae is not None:
        error = _error(iwae["bits_per_dim_standard_error"], 4)
        mass = iwae["mass_bits_per_dim"]
        exact = "" if mass is None else f", {mass:.3f} by exact masses"
        yield f"  IWAE, K = {iwae['k']}", f"{iwae['bits_per_dim']:10.3f}{error}{exact}"
    mark = "best constant prediction" if beaten else NOT_BEATEN
    yield "  if collapsed", f"{scores['collapsed_bits_per_dim']:10.3f} {mark}"
    if ppca is not None and ppca["bits_per_dim"] is not None:
        mark = "" if scores["bits_per_dim"] < ppca["bits_per_dim"] else f" {NOT_BEATEN}"
        yield "  probabilistic PCA", f"{ppca['bits_per_dim']:10.3f} with as many latents{mark}"
    if scores["uniform_bits_per_dim"] is not None:
        mark = "" if scores["bits_per_dim"] < scores["uniform_bits_per_dim"] else f", {NOT_BEATEN}"
        yield "  uniform", f"{scores['uniform_bits_per_dim']:10.3f} knowing nothing{mark}"


def _latents(scores: dict[str, Any]) -> Iterator[tuple[str, str]]:
    each = scores["kl_per_latent"]
    of = "" if each is None else f" of {len(each)}"
    yield "active units", f"{scores['active_units']:10d}{of}"
    if each is not None:
        largest = sorted(each, reverse=True)
        shown = " ".join(f"{value:.2f}" for value in largest[:8])
        yield "  KL of each", f"{shown}{' ...' if len(largest) > 8 else ''} nats"
    ceiling = scores["mutual_information_ceiling"]
    text = f"{scores['mutual_information']:10.2f} nats, of at most {ceiling:.2f}"
    count = round(math.exp(ceiling))
    yield "  I(x; z)", f"{text}, the log of {count} images"
    yield "  KL of q(z) to p(z)", f"{scores['marginal_kl']:10.2f} nats"
    if scores["encoder_sigma"] is not None:
        yield "  encoder's mean σ", f"{scores['encoder_sigma']:10.3f}"


def _pictures(scores: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if scores["mse"] is None:
        yield "mse of the mean", f"{'-':>10} {scores['no_mean']}"
        return
    mark = "" if scores["mse"] < scores["mse_mean_image"] else f" {NOT_BEATEN}"
    yield "mse of the mean", f"{scores['mse']:10.4f} per pixel"
    yield "  of the mean image", f"{scores['mse_mean_image']:10.4f}{mark}"
    yield "spread over inputs", f"{scores['spread']:10.4f} standard deviation; 0 if collapsed"


def _kinds(kinds: dict[str, Any], images: int) -> Iterator[str]:
    label = "by kind" if kinds["images"] == images else f"first {kinds['images']}"
    rows = {name: values for name, values in kinds.items() if isinstance(values, dict)}
    there = [name for name in COLUMNS if any(name in values for values in rows.values())]
    yield f"{label:<11}" + "".join(f"{name:>{_width(name)}}" for name in there)
    for name, values in rows.items():
        cells = (f"{_number(values.get(key)):>{_width(key)}}" for key in there)
        yield f"  {name:<9}" + "".join(cells)


def _width(name: str) -> int:
    return max(7, len(name) + 1)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    if abs(value) >= 1e5:
        return f"{value:.0e}"
    return f"{value:.{4 if abs(value) < 1 else 2 if abs(value) < 100 else 0}f}"


def _calibration(scores: dict[str, Any] | None) -> Iterator[tuple[str, str]]:
    if scores is None:
        return
    of = f"integrals' distance from uniform, {scores['images']} images"
    yield "calibration", f"{scores['pit_distance']:10.3f} {of}"
    inside = ", ".join(f"{found:.1%} of {wanted:.0%}" for wanted, found in scores["coverage"])
    yield "  central intervals", f"hold {inside}"
    sigma = scores["sigma"]
    if sigma is not None:
        yield (
            "  σ against error",
            f"{sigma['predicted']:10.4f} predicted, {sigma['actual']:.4f} actual",
        )
        if sigma["image_correlation"] is not None:
            yield "    over images", f"{sigma['image_correlation']:10.2f} correlation"
    near = scores["neighbours"]
    if near is not None:
        text = f"{near['beside']:10.2f} beside, {near['below']:.2f} below; 0 if independent"
        yield "  residuals correlate", text


def _samples(scores: dict[str, Any] | None) -> Iterator[tuple[str, str]]:
    if scores is None:
        return
    from pyro_vae.metrics.sample_scores import rows

    yield "samples", f"{scores['kind']} of p(x|z) at {scores['n']} latents of the prior"
    yield from rows(scores)
