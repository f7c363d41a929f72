"""``pyro-vae diagnose``."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from .options import (
    WRONG,
    as_json,
    data_options,
    echo_json,
    own_of,
    own_parts,
    tell_changed,
)
from .pages import explained

if TYPE_CHECKING:
    from pyro_vae.diagnostics import Diagnosis, Evidence, ProgramDiagnosis, Verification
    from pyro_vae.training import History

Lines = Iterator[str]

__all__ = ["diagnose"]

WIDTH = 80
LABEL = 26
_MARKS = {True: "ok", False: "NO", None: "-"}


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@data_options
@own_parts
@click.option(
    "--verify",
    "asked_verify",
    is_flag=True,
    help="Train anew, briefly and from the start, with the first cause's mend; the RUN is left "
    "as it is.",
)
@click.option("--full", is_flag=True, help="Print all evidence, not five figures of it.")
@as_json
def diagnose(
    run: Path,
    data: str | None,
    data_root: Path | None,
    download: bool,
    asked_verify: bool,
    full: bool,
    as_json: bool,
    **own: str | None,
) -> None:
    """Say why a RUN gives what it gives, and what mends it.

    Looks at the model, at held-out images, at the records of its training and at its options, and
    leaves diagnosis.json in the RUN. Exit status: 0 where nothing is wrong, 3 where something is.
    """
    import pyro_vae as pv
    from pyro_vae import ours
    from pyro_vae.diagnostics import verify
    from pyro_vae.diagnostics.kept import DIAGNOSIS, keep_diagnosis, plain
    from pyro_vae.diagnostics.mends import with_commands
    from pyro_vae.training.run_data import load_data, part_of
    from pyro_vae.warning_signs import few_words

    parts = own_of(own)
    vae = pv.load(run, **parts)
    if data is None and not parts:
        ours.check(run, ours.RUN, [DIAGNOSIS])
    config = pv.training.read_config(run)
    images, described = load_data(data, data_root, download, config)
    settings = config.get("fit") or {}
    held_out = images.held_out if len(images.held_out) else None
    shown = images.train if held_out is None else held_out
    history = _history(run, config.get("kind", "density"), settings)
    train = None if held_out is None else images.train
    found = pv.diagnose(vae, shown, history, settings, train)
    tell_changed(described)
    verified: Verification | None = None
    if asked_verify:
        reason = _not_verified(found)
        if reason is None:
            click.echo("training anew with the mend ...", err=True)
            parts.pop("obs", None)  # the model has it
            one = cast("Diagnosis", found)
            verified = verify(vae, one, images.train, held_out, settings, **parts)
        else:
            click.echo(reason, err=True)
    kept = with_commands(found, config.get("options") or {}, f"{run}-mended")
    if data is None and not parts:
        keep_diagnosis(vae, kept, run)
    if as_json:
        rest = {"verification": verified.to_dict()} if verified else {}
        part = "train" if held_out is None else part_of(images)
        of = {"data": described["name"], "part": part, "changed": described["changed"]}
        echo_json(plain({**of, **kept, **rest}))
    else:
        judged = held_out is not None and few_words(len(held_out)) is None
        name = "held-out" if images.validation is None else "validation"
        for line in _lines(found, kept, name if judged else "training", full):
            click.echo(line)
        click.echo(explained("diagnose"))
        for line in [] if verified is None else _verified(verified):
            click.echo(line)
    if found.verdict not in ("healthy", "not-collapsed"):
        raise SystemExit(WRONG)


def _history(run: Path, kind: str, settings: Mapping[str, Any]) -> History | None:
    """What training recorded, or None where nothing is left of it."""
    from pyro_vae.training import History
    from pyro_vae.training.runs import METRICS

    try:
        history = History.read(run / METRICS, kind)
    except (FileNotFoundError, UnicodeDecodeError):
        history = History()
    if not history.records:
        click.echo(f"no records in {METRICS}: the course of training is not known", err=True)
        return None
    done, wanted = len(history.epochs()), settings.get("epochs")
    if wanted is not None and done < wanted and not settings.get("patience"):
        click.echo(f"{METRICS} ends after {done} of {wanted} epochs", err=True)
    return history


def _not_verified(found: Diagnosis | ProgramDiagnosis) -> str | None:
    """Why there is nothing to verify, or None."""
    if found.evidence is None:
        return "nothing to verify: no option mends a model of several things"
    if not found.causes:
        return "nothing to verify: no cause was found"
    if not found.causes[0].changes:
        return f"nothing to verify: no option mends {found.causes[0].code}"
    return None


def _lines(
    found: Diagnosis | ProgramDiagnosis, kept: Mapping[str, Any], split: str, full: bool
) -> Lines:
    yield from _wrapped(f"{found.verdict}: {found.summary}", "")
    for number, cause in enumerate(kept["causes"], 1):
        yield ""
        yield f"{number}. {cause['code']}"
        yield from _wrapped(cause["sentence"], "   ")
        mend, command = cause["mend"], cause["command"]
        how = f"pyro-vae fit ... {mend}" if mend.startswith("--") and command is None else mend
        yield from _wrapped(f"mend: {how}", "   ", "         ")
        if command is not None:
            yield from _pasted(command)
    for remark in found.remarks:
        yield ""
        yield from _wrapped(f"remark: {remark}", "", "  ")
    yield ""
    unit = "rows" if found.evidence is None else "images"
    if found.evidence is not None and not full:
        yield f"evidence from {found.images} {split} {unit}; all of it with --full"
        for headline in found.headlines:
            mark = _MARKS[headline.fine]
            yield from _wrapped(headline.text, f"  {mark:<4}{headline.label:<18}", " " * 24)
        return
    yield f"evidence from {found.images} {split} {unit}"
    rows = list(_sites(found.scores) if found.evidence is None else _rows(found.evidence))
    width = max(LABEL, *(len(label) + 4 for label, _ in rows))
    for label, text in rows:
        yield from _wrapped(text, f"  {label:<{width - 2}}", " " * min(width, LABEL))


def _pasted(command: str) -> Lines:
    """A command in lines that a shell takes for one."""
    lines: list[str] = []
    for word in shlex.split(command):
        word = shlex.quote(word)
        if lines and len(lines[-1]) + len(word) < WIDTH - 5:
            lines[-1] += f" {word}"
        else:
            lines.append(f"{'     ' if lines else '   '}{word}")
    yield from (f"{line} \\" for line in lines[:-1])
    yield lines[-1]


def _sites(scores: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, site in scores["sites"].items():
        if "kl" in site:
            active = f"{site['active_units']} of {site['units']} units active"
            yield name, f"KL {site['kl']:.3g} nats, {active}"
        else:
            yield name, f"log p {site['reconstruction']:.4g} nats"


def _wrapped(text: str, first: str, rest: str | None = None) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=first if rest is None else rest,
        break_on_hyphens=False,
    )


def _rows(e: Evidence) -> Iterator[tuple[str, str]]:
    yield from _latents(e)
    yield from _pictures(e)
    yield from _course(e)


def _latents(e: Evidence) -> Iterator[tuple[str, str]]:
    forecast = "" if e.predicted is None else f", the forecast is {e.predicted}"
    yield "active units", f"{e.active_units} of {e.latent_dim}{forecast}"
    if e.kl_per_latent is not None:
        shown = " ".join(f"{value:.2f}" for value in e.kl_per_latent[:6])
        yield "KL of each", f"{shown}{' ...' if len(e.kl_per_latent) > 6 else ''} nats"
    wanted = "" if e.beta == e.beta_wanted else f" of {e.beta_wanted:.3g} wanted"
    yield "β at the end", f"{e.beta:.3g}{wanted}"
    if e.pressure is not None:
        yield "βσ² over collapse's", f"{e.pressure:.2g}; above 1 no unit survives"


def _pictures(e: Evidence) -> Iterator[tuple[str, str]]:
    yield "squared error", f"{e.error:.2g} of the mean image's"
    if e.training_error is not None:
        yield "of training images", f"{e.training_error:.2g} of their mean image's"
    yield "spread over inputs", f"{e.spread:.2g} of the data's; 0 if all inputs give one picture"
    if e.shuffled is not None:
        yield "with others' latents", f"{e.shuffled:.2f} times the error; 1 if z is not used"
    yield "spread of samples", f"{e.prior_spread:.2g} of the data's"
    yield "over best constant", f"{e.constant_gain:+.1f} nats per image of reconstruction"
    if e.sigma is not None:
        yield "σ against error", f"{e.sigma:.3g} assumed, {e.rmse:.3g} actual"
    yield "data", f"{_range(e.low, e.high)} in the observation's unit"
    yield "mean reconstructions", f"{_range(e.shown_low, e.shown_high)} of the range"
    yield "at an end of the range", f"{e.saturated:.1%} of all locations"


def _range(low: float, high: float) -> str:
    return f"from {round(low, 3):g} to {round(high, 3):g}"


def _course(e: Evidence) -> Iterator[tuple[str, str]]:
    if e.dead_units is not None:
        yield "encoder's dead units", f"{e.dead_units:.0%} are 0 for every image"
    if e.kl_peak is not None:
        yield "KL at first", f"at most {e.kl_peak:.3g} nats in the first 50 steps"
    if e.steps is not None and e.rising is not None:
        yield "still gaining", f"{e.rising:.1%} of all gain in the last tenth of {e.steps} steps"
    if e.gradient_norm is not None:
        yield "gradient norm", f"{e.gradient_norm:.3g} at the end"
    if e.fallen is not None and e.gap is not None:
        lost = f"has lost {e.fallen:.0%} of its gain since its best"
        yield "held-out score", f"{e.gap:.1f} nats below training's, {lost}"
    if not e.finite:
        yield "weights and losses", "not all finite"


def _verified(verified: Verification) -> Iterator[str]:
    before, after = verified.before, verified.after
    changes = ", ".join(f"{name} = {value}" for name, value in verified.changes.items())
    yield ""
    yield from _wrapped(f"verified by {verified.epochs} epochs from the start with {changes}", "")
    yield f"{'':<{LABEL}}{'before':<18}after"
    rows = [
        ("verdict", before.verdict, after.verdict),
        ("active units", *(_units(found.evidence) for found in (before, after))),
        ("spread over inputs", *(f"{found.evidence.spread:.2g}" for found in (before, after))),
        ("squared error", *(f"{found.evidence.error:.2g}" for found in (before, after))),
    ]
    for label, old, new in rows:
        yield f"  {label:<{LABEL - 2}}{old:<18}{new}"
    yield "mended" if verified.mended else "not mended by this alone"


def _units(e: Evidence) -> str:
    return f"{e.active_units} of {e.latent_dim}"
