"""Training: one pass of SVI per step, with everything that the logs need from that pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from pyro_vae import elbo
from pyro_vae.checks import check_images
from pyro_vae.config import FitConfig
from pyro_vae.data import Data, Images, as_source, looked_at, of_covariates
from pyro_vae.data.batch import Given, Loaded
from pyro_vae.data.kept import kept_of
from pyro_vae.data.parts import divided
from pyro_vae.files import expanded
from pyro_vae.history import History
from pyro_vae.noise import alone
from pyro_vae.schedules import Schedule
from pyro_vae.training import distributed, locks, runs
from pyro_vae.training.ending import ended
from pyro_vae.training.epochs import run_epochs, warn
from pyro_vae.training.longer import Longer
from pyro_vae.training.preparing import measure, prepare
from pyro_vae.training.progress import Progress, Silent
from pyro_vae.training.run_writer import RunWriter
from pyro_vae.training.train_state import TrainState, check_norms
from pyro_vae.training.trainer import Trainer
from pyro_vae.types import Fields
from pyro_vae.vae import VAE, checked_vae
from pyro_vae.warning_signs import few_words

__all__ = ["fit"]


def fit(
    vae: VAE,
    images: Given,
    validation: Given | Data | float | str | Path | None = None,
    epochs: int = 60,
    batch_size: int = 128,
    lr: float = 1e-3,
    beta: float | str | Schedule = 1.0,
    seed: int = 0,
    out: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
    data: dict[str, object] | None = None,
    covariates: ArrayLike | None = None,
    **options: Any,
) -> History:
    r"""Train a VAE: minimise :math:`\beta\,\mathrm{kl} - \mathrm{reconstruction}`, per image.

    Reconstruction and KL are summed over pixels and latents and averaged over images; nothing else
    is reduced. Pyro's parameter store is not touched; called again, it goes on from the present
    weights with a fresh optimiser. Where torch.distributed has a process group, each process trains
    on its part of every batch, and the first one writes.

    Args:
        vae: The model, trained in place and left in evaluation mode.
        images: uint8 levels or floats (N, C, H, W) or (N, D), or a ``torch.utils.data.Dataset``.
            A memory-mapped array stays on disk, and a :func:`pyro_vae.data.stream` is read anew in
            every epoch; what is read off all training images before and after training is read
            off 10,000 of them.
        validation: Images that are not trained on, by which the weights that training ends with
            are chosen (unless ``keep_best=False``), and by which ``patience`` and
            ``lr_schedule="plateau"`` choose: so they are none to report figures of. Or a share of
            ``images`` to hold out, chosen by the seed; ``"last:N"`` of them; the path of a folder
            or file of others; a :class:`~pyro_vae.data.Data`, whose validation part it is; or None.
        epochs: Passes over the images.
        batch_size: Images per step.
        lr: Learning rate.
        beta: β, a number or a schedule, also as text: ``"linear:0,1,steps=1000"``.
        seed: Of the batches' order and of all noise; the caller's generators are left alone.
        out: Run folder to write, or None. It must be new, empty or a run's, whose own files alone
            are ever replaced.
        overwrite: Whether ``out`` may hold a run already.
        resume: Whether to go on from the last checkpoint in ``out``, with the same model, images
            and options; the end is bit-identical to an uninterrupted run's on the same machine
            and number of threads. Without a checkpoint there it begins anew.
        progress: Who is told while it runs; it may raise :class:`~pyro_vae.training.Stopped`.
        covariates: (N, C) numbers known of each image, where the VAE has any; with held-out images
            as an array, ``validation`` is a :class:`~pyro_vae.data.Batch` with theirs.
        data: Plain data kept in the run's configuration, as the data set's name.
        **options: Further fields of :class:`~pyro_vae.config.FitConfig`, of which ``objective``,
            ``optimizer`` and ``augment`` may be objects.

    Returns:
        The history, with every step's and every epoch's record.

    Raises:
        InputError: If an option is out of range, the images do not suit the observation, or
            ``out`` holds other files or is being trained; nothing is written then.
        FaultError: If a step is not finite; it says where, and what there is has been saved.
        TrainingError: If the folder cannot be written, or images on disk can no longer be read;
            its last checkpoint stays.
        KeyboardInterrupt: After saving what there is.
        Stopped: As raised by ``progress``, after a checkpoint.

    Example:
        >>> import pyro_vae as pv
        >>> vae = pv.VAE((1, 28, 28), latent_dim=2, net=pv.networks.MLP(hidden=16))
        >>> history = pv.fit(vae, pv.data.load("mnist-5k").train[:256], epochs=1)
        >>> len(history.steps), history.epochs()[0]["beta"]
        (2, 1.0)
    """
    checked_vae(vae, "fit")
    config = FitConfig.of(
        epochs=epochs, batch_size=batch_size, lr=lr, beta=beta, seed=seed, **options
    )
    images = of_covariates(as_source(images, vae.data_shape), covariates)
    images, held_out = divided(images, validation, config.seed)
    return train(vae, images, held_out, config, out, overwrite, resume, progress, {"data": data})


def train(
    vae: VAE,
    train: Images,
    held_out: Images | None,
    settings: FitConfig,
    out: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
    kept: Mapping[str, object] | None = None,
    part: str = "validation",
    notes: Sequence[str] = (),
    longer: Longer | None = None,
) -> History:
    """Train a VAE as a configuration says; else as :func:`fit`.

    Args:
        vae: The model.
        train: Training images, as :func:`pyro_vae.data.as_source` has them.
        held_out: Held-out images, or None.
        settings: How to train.
        out: Run folder to write, or None.
        overwrite: Whether it may hold a run already.
        resume: Whether to go on from its last checkpoint.
        progress: Who is told while it runs.
        kept: Plain data by their names in config.json.
        part: Which images the held-out ones are, ``validation`` or ``test``.
        notes: What is worth knowing of the data.
        longer: Where a run was that is to go on for other epochs than it began with.
    """
    if out is not None:
        out = expanded(out)
        # Who trains there may be another thread, and may wait for this one.
        locks.check_idle(out)
    history = History(part=part)
    settings = settings.settled(held_out is not None and part == "validation")
    return _train_alone(
        vae,
        train,
        held_out,
        settings,
        out,
        overwrite,
        resume,
        progress or Silent(),
        kept or {},
        history,
        notes,
        longer,
    )


@alone
def _train_alone(
    vae: VAE,
    train: Images,
    held_out: Images | None,
    settings: FitConfig,
    out: str | Path | None,
    overwrite: bool,
    resume: bool,
    progress: Progress,
    kept: Mapping[str, object],
    history: History,
    data_notes: Sequence[str],
    longer: Longer | None,
) -> History:
    _check_parts(vae, train, held_out, settings)
    device = next(vae.parameters()).device
    rows = None if out is None else kept_of(train, held_out)
    train = train.to(device)
    held_out = None if held_out is None else held_out.to(device)
    some = looked_at(train)
    for part in (some, held_out):
        if part is not None:
            check_images(vae, looked_at(part))
    folder = None if out is None else runs.check_free(out, overwrite or resume)
    history.kind = vae.kind_on(some)
    config = runs.configuration(vae, **kept, images=rows, fit=settings.to_dict(), kind=history.kind)
    remember = settings.on_nan == "rollback"
    keep = settings.keep_checkpoints
    keeper = RunWriter(folder, config, len(train), settings.interval(), keep, remember)
    keeper.longer = longer is not None
    distributed.wait()  # until all have looked at the folder
    with ExitStack() as stack:
        if keeper.folder is not None:
            stack.enter_context(locks.locked(keeper.folder))
            # Another process may have been there since.
            runs.check_free(keeper.folder, overwrite or resume, mine=True)
        saved = keeper.saved() if resume else None
        distributed.wait()  # until all have read its checkpoint
        warning = _ready(vae, some, settings, keeper, saved, longer, history)
        # Averages are copies of the model: it must have all its parts by now.
        course = Trainer(TrainState(vae, settings, len(train)), history)
        history.notes = [*data_notes, _plan_words(course.state), *history.notes]
        if saved is None and longer is None:
            _tell_first(course, warning, held_out, progress)
        keeper.begin(course, saved)
        if longer is not None:
            history.notes.append(longer.take_up(course, held_out, anew=saved is None))
        distributed.wait()
        for damaged in keeper.damaged:
            progress.warn(f"passed over a damaged checkpoint, {damaged}")
        with ended(course, train, held_out, keeper):
            run_epochs(course, train, held_out, keeper, progress)
    return history


def _check_parts(vae: VAE, train: Images, held_out: Images | None, settings: FitConfig) -> None:
    """Make sure that there is all that training takes.

    Raises:
        InputError: If covariates or held-out images are missing, or batches are of one image where
            layers normalise over them.
    """
    for part in (train, held_out):
        if part is not None:
            vae.check_given(part)
    settings.check_held_out(held_out is not None)
    check_norms(vae, len(train), settings.batch_size)


def _ready(
    vae: VAE,
    some: Loaded,
    settings: FitConfig,
    keeper: RunWriter,
    saved: Fields | None,
    longer: Longer | None,
    history: History,
) -> str | None:
    """Bring a model to where it begins or goes on; a warning of what will become of it."""
    warning = None
    if saved is not None:
        keeper.weights_of(saved, vae)
    elif longer is not None:
        keeper.check_images(longer.config)
        history.records = longer.records
        measure(vae, some, history)
    else:
        warning = prepare(vae, some, settings, history)
    elbo.held_out_terms(vae, some[:2])  # names a site of a program that cannot be scored
    return warning


def _tell_first(
    course: Trainer, warning: str | None, held_out: Images | None, progress: Progress
) -> None:
    """Note and warn of what is known before the first step."""
    state, history = course.state, course.history
    if state.compiled is not None:
        history.notes.append("steps are compiled: the first take seconds, or minutes")
    held = 0 if held_out is None else len(held_out)
    few = few_words(held, "row" if state.vae.joint else "image")
    history.notes += [few] if few else []
    for message in [warning, *state.warnings()]:
        warn(message, history, progress)


def _plan_words(state: TrainState) -> str:
    """What will be trained, where and how long, in a line."""
    weights, settings = sum(p.numel() for p in state.vae.parameters()), state.settings
    return (
        f"{weights:,} weights on {state.device}; {settings.epochs} epochs of "
        f"{state.steps_per_epoch} steps, {settings.batch_size} in a batch"
    )
