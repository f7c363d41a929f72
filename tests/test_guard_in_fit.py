"""A training never goes on with a graph that is not its program."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from pyro_vae import VAE, fit
from pyro_vae.objectives import capture
from pyro_vae.training import compiling

from .training.models import small

pytestmark = pytest.mark.usefixtures("no_pictures")

SETTINGS: dict[str, Any] = {"epochs": 6, "batch_size": 16, "lr": 1e-2, "compile": "on"}


def made() -> VAE:
    torch.manual_seed(5)
    return small("normal-learned-sigma", hidden=12)


def planted(monkeypatch: pytest.MonkeyPatch, where: int, sound: int) -> list[int]:
    """Graphs whose loss (0) or last gradient (−1) is wrong after so many sound passes."""
    passes: list[int] = []

    def compiled(traced: Any, device: torch.device) -> Any:
        def run(*given: Tensor) -> list[Tensor]:
            found = list(traced(*given))
            passes.append(len(passes))
            if len(passes) > sound:
                found[where] = found[where] * 1.5 + 1
            return found

        return run

    monkeypatch.setattr(capture, "_compiled", compiled)
    return passes


@pytest.mark.parametrize(
    ("where", "said"),
    [(0, "the graph's loss is"), (-1, "a gradient of the graph is not the program's")],
)
def test_a_wrong_graph_is_found_at_its_first_pass(
    few: Tensor, monkeypatch: pytest.MonkeyPatch, where: int, said: str
) -> None:
    """The run is the one that never had a graph, to the last bit of noise drawn."""
    passes = planted(monkeypatch, where, sound=0)
    vae, eager = made(), made()
    history = fit(vae, few[:64], **SETTINGS)
    fit(eager, few[:64], **{**SETTINGS, "compile": "off"})
    (warning,) = [text for text in history.warnings if "compiled" in text]
    assert warning.startswith(f"steps are not compiled: {said}")
    assert len(passes) == 1
    torch.testing.assert_close(vae.state_dict(), eager.state_dict(), rtol=1e-6, atol=1e-7)


def test_a_graph_that_goes_wrong_is_found_within_an_epoch(
    few: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checked every four passes, which are an epoch; wrong from the first of the third on."""
    monkeypatch.setattr(compiling, "_CHECKED", 4)
    passes = planted(monkeypatch, 0, sound=8)
    history = fit(made(), few[:64], **SETTINGS)
    (warning,) = [text for text in history.warnings if "compiled" in text]
    assert warning.startswith("steps are not compiled: the graph's loss is")
    assert len(passes) == 9
    assert len(history.steps) == 24


def test_a_sound_graph_is_kept(few: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "_CHECKED", 4)
    passes = planted(monkeypatch, 0, sound=10_000)
    history = fit(made(), few[:64], **SETTINGS)
    assert not [text for text in history.warnings if "compiled" in text]
    assert len(passes) == 23  # the run's first step is Pyro's own
