"""How training ends: what a model and its folder are left as, whatever happened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pyro_vae import elbo
from pyro_vae.data import Images, looked_at
from pyro_vae.errors import InputError, TrainingError
from pyro_vae.plots import runs as pictures
from pyro_vae.training import runs
from pyro_vae.training.faults import FaultError
from pyro_vae.training.progress import Stopped
from pyro_vae.training.run_writer import RunWriter
from pyro_vae.training.trainer import Trainer

__all__: list[str] = []


@contextmanager
def ended(
    course: Trainer, train: Images, held_out: Images | None, keeper: RunWriter
) -> Iterator[None]:
    """However training ends, a model in evaluation mode and a folder that can be loaded."""
    vae, folder, whole, lost = course.state.vae, keeper.folder, True, False
    try:
        try:
            yield
        except Stopped:
            keeper.save(course)
            raise
        except FaultError as fault:
            whole = False
            if folder is not None:
                fault.explanation.write(folder)
            raise
        except InputError:
            whole, lost = False, True
            raise
        finally:
            course.state.finish()
            if "residual" in vae.likelihood.origins() and not lost:
                elbo.freeze_residuals(vae, looked_at(train))
            if folder is not None:
                runs.write(vae, folder, keeper.config)
    except OSError as error:
        raise TrainingError(
            f"{error.filename or folder} cannot be written: {error.strerror or error}; the run "
            f"stopped at step {course.state.step} and can be resumed from its last checkpoint"
        ) from error
    except InputError as error:  # all was well with the images when training began
        raise TrainingError(
            f"{error}; the run stopped at step {course.state.step}"
            + (" and can be resumed from its last checkpoint" if folder is not None else "")
        ) from None
    finally:
        if folder is not None and whole:
            shown = train if held_out is None else held_out
            # Of a full disk the user has been told; weights out of all bounds give no picture.
            with suppress(OSError, ValueError):
                pictures.draw_run(vae, shown[: elbo.BLOCK], course.history, folder)
    keeper.finish()
