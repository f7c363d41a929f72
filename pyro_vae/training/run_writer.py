"""What a run leaves on disk while it trains, and how it is taken up again."""

from __future__ import annotations

import copy
import time
from pathlib import Path
from typing import Any

from pyro_vae import ours
from pyro_vae.config.fields import number_or_text
from pyro_vae.errors import InputError, reason
from pyro_vae.files import write_text
from pyro_vae.history import History
from pyro_vae.training import distributed, formats, locks, runs
from pyro_vae.training.checkpoints import Checkpoints
from pyro_vae.training.trainer import Trainer
from pyro_vae.types import JSON, Fields
from pyro_vae.vae import VAE

__all__: list[str] = []

_FREE = ("checkpoint", "keep_checkpoints", "on_nan", "workers", "init_from_data")
"""Settings on which nothing that is trained from a checkpoint on depends."""
_ROLLBACKS = 5


class RunWriter:
    """Writes metrics and checkpoints of a run, and reads them to go on.

    Args:
        folder: The run folder, or None to write nothing.
        config: What config.json will hold.
        images: Number of training images.
        interval: Steps, or seconds, between checkpoints; neither for none.
        keep: How many checkpoints to keep.
        remember: Whether to hold the last checkpoint in memory, to go back to it.

    Attributes:
        folder: Where to write, None for nowhere.
        damaged: Checkpoints that were passed over because they are not whole.
        longer: Whether a run goes on for other epochs than it began with.
    """

    def __init__(
        self,
        folder: Path | None,
        config: Fields,
        images: int,
        interval: tuple[int | None, float | None],
        keep: int = 2,
        remember: bool = False,
    ) -> None:
        self.source, self.config, self.images = folder, config, images
        # Of several processes all read and the first one writes.
        self.folder = folder if distributed.present() == 0 else None
        self.checkpoints = None if folder is None else Checkpoints(folder, keep)
        self._steps, self._seconds = interval
        self._on = self.folder is not None and interval != (None, None)
        self._remember = remember
        self._memory: dict[str, Any] | None = None
        self._written, self._step, self._time = 0, 0, time.monotonic()
        # In all, and since the checkpoint, whose own rate has those before it.
        self._rollbacks, self._since = 0, 0
        self.damaged: list[str] = []
        self.longer = False

    def saved(self) -> JSON | None:
        """The last whole checkpoint; None if there is none.

        Raises:
            InputError: If it is of other settings or data, or of a newer format.
        """
        if self.checkpoints is None:
            raise InputError("resume needs out=, the run folder")
        found = self.checkpoints.latest()
        self.damaged = self.checkpoints.damaged
        if found is None:
            return None
        config = formats.upgraded(found[1].get("config"), str(self.source))
        saved: JSON = found[1] | {"config": config}
        self._check(saved)
        return saved

    def weights_of(self, saved: Fields, vae: VAE) -> None:
        """Give the model a checkpoint's weights, before anything is made of the model.

        Raises:
            InputError: If they are another model's.
        """
        try:
            runs.put_weights(vae, saved["course"]["state"]["vae"])
        except RuntimeError as error:
            raise InputError(f"{self.source} is a run of another model: {reason(error)}") from None

    def begin(self, course: Trainer, saved: Fields | None) -> None:
        """Take the run up where a checkpoint left it; or without one, remove a former run."""
        if self.folder is not None:
            if saved is None and not self.longer:
                ours.remove(self.folder)
            ours.claim(self.folder, ours.RUN, runs.WRITTEN)
            locks.sign(self.folder)
        if saved is not None:
            self._resume(course, saved)
        elif self.longer:
            self._rewrite(course)
            if self.folder is not None:
                # Scores and pictures of the weights that it had are of no use any more.
                ours.discard(self.folder, ours.files(self.folder) - set(runs.WRITTEN))

    def _resume(self, course: Trainer, saved: Fields) -> None:
        metrics = None if self.source is None else self.source / runs.METRICS
        if metrics is not None and metrics.is_file():
            course.history.records = History.read(metrics).records
        course.load_state_dict(saved["course"])
        self._rewrite(course)
        self._memory = copy.deepcopy(dict(saved)) if self._remember else None
        self._step = course.state.step

    def _check(self, saved: Fields) -> None:
        before, now = saved["config"]["fit"], self.config["fit"]
        for name, value in now.items():
            was = before.get(name)
            # Former versions wrote a number as it had been given: 1.0 is 1.
            was = number_or_text(name)(was) if isinstance(was, str) else was
            free = (*_FREE, "epochs") if self.longer else _FREE
            if name not in free and was != value:
                option = name.replace("_", "-")
                raise InputError(
                    f"{self.source} was trained with {option} {before.get(name)}, not {value}: "
                    "a run goes on with the options that it began with"
                )
        if saved["images"] != self.images:
            raise InputError(
                f"{self.source} was trained on {saved['images']} images, these are {self.images}"
            )
        self.check_images(saved["config"])

    def check_images(self, config: Fields) -> None:
        """Make sure that the images are those of a run.

        Args:
            config: The run's configuration.

        Raises:
            InputError: If they are others.
        """
        kept = config.get("images")
        # Former versions did not say that gaps are told from zeros: they had no gaps.
        images = {"gaps": True, **kept} if kept is not None else None
        if images is not None and images != self.config.get("images"):
            raise InputError(
                f"{self.source} was trained on other images than these, or held out others: the "
                "data have changed since; start anew"
            )

    def after_step(self, course: Trainer) -> None:
        """Save the run if that is due."""
        step = course.state.step
        due = self._steps is not None and step >= self._step + self._steps
        late = self._seconds is not None and time.monotonic() >= self._time + self._seconds
        if due or late:
            self.save(course)

    def save(self, course: Trainer) -> None:
        """Save the run as it is.

        Raises:
            OSError: If the disk is full or the folder cannot be written.
        """
        self.log(course)
        if not (self._on or self._remember):
            return
        tree = {"config": self.config, "images": self.images, "course": course.state_dict()}
        self._step = course.state.step
        if self._on and self.checkpoints is not None:
            self.checkpoints.write(self._step, tree)
        if self._remember:
            self._memory = copy.deepcopy(tree)
            self._since = 0
        self._time = time.monotonic()

    def roll_back(self, course: Trainer) -> bool:
        """Go back to the last checkpoint with half the learning rate; False if that was enough."""
        if self._memory is None or self._rollbacks == _ROLLBACKS:
            return False
        self._rollbacks, self._since = self._rollbacks + 1, self._since + 1
        # A copy: an optimiser goes on with the very tensors that it was given.
        course.load_state_dict(copy.deepcopy(self._memory["course"]))
        course.state.lower_rate(0.5**self._since)
        self._rewrite(course)
        return True

    def log(self, course: Trainer) -> None:
        """Append the records that are not in metrics.jsonl yet."""
        if self.folder is None:
            return
        with (self.folder / runs.METRICS).open("a", encoding="utf-8") as stream:
            stream.writelines(course.history.lines(self._written))
        self._written = len(course.history.records)

    def _rewrite(self, course: Trainer) -> None:
        """Make metrics.jsonl what the history is: later steps were taken back."""
        self._written = len(course.history.records)
        if self.folder is not None:
            write_text(self.folder / runs.METRICS, "".join(course.history.lines()))

    def finish(self) -> None:
        """Drop the checkpoints of a run that is done."""
        if self.checkpoints is not None and self.folder is not None:
            self.checkpoints.clear()
