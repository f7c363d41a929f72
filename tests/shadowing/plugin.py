"""The option ``--shadow``, what it watches, and what it says at the end."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from pyro_vae.objectives import CapturedELBO, Objective
from pyro_vae.training.train_step import TrainStep

from .copies import Noise, Program
from .ways import Ledger, around, shadow

KEY = "shadowed"


class Shadow:
    """Watches every loss of ours while it is registered with pytest.

    Args:
        backend: Of the graphs.
    """

    def __init__(self, backend: str) -> None:
        self.backend, self.ledger = backend, Ledger()
        self._inside, self._patch = False, pytest.MonkeyPatch()

    def pytest_sessionstart(self) -> None:
        for cls in (Objective, CapturedELBO):
            self._patch.setattr(cls, "differentiable_loss", self._loss(cls.differentiable_loss))
        self._patch.setattr(TrainStep, "forward", self._step(TrainStep.forward))

    def pytest_unconfigure(self) -> None:
        self._patch.undo()

    def _loss(self, compute: Callable[..., Tensor]) -> Callable[..., Tensor]:
        @functools.wraps(compute)
        def computed(
            objective: Objective, model: Any, guide: Any, *args: Any, **kwargs: Any
        ) -> Tensor:
            def plain() -> Tensor:
                return compute(objective, model, guide, *args, **kwargs)

            return self._watched(plain, lambda loss: loss, objective, model, guide, args, kwargs)

        return computed

    def _step(self, compute: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(compute)
        def computed(step: TrainStep, x: Any, beta: Tensor) -> Any:
            vae = step.vae

            def plain() -> Any:
                vae.arithmetic = None
                return compute(step, x, beta)

            vae.arithmetic = step.arithmetic  # of the copies
            try:
                given = step.objective, vae.model, vae.guide, (x,), {"beta": beta}
                return self._watched(plain, lambda found: found[0], *given)
            finally:
                vae.arithmetic = None

        return computed

    def _watched(
        self,
        plain: Callable[[], Any],
        loss_of: Callable[[Any], Tensor],
        objective: Objective,
        model: Any,
        guide: Any,
        args: Any,
        kwargs: Any,
    ) -> Any:
        if self._inside:
            return plain()
        self._inside = True
        try:
            if (said := around()) is not None:
                self.ledger.count("not computed anew", said)
                return plain()
            inner = getattr(objective, "objective", objective)
            if self.ledger.skips((str(inner), type(objective))):
                return plain()
            try:
                program = Program.of(inner, model, guide, args, kwargs)
            except Exception as error:
                said = f"cannot be copied: {type(error).__name__}: {error}"
                self.ledger.count("not computed anew", said)
                return plain()
            noise = Noise()
            found = plain()
            shadow(self.ledger, program, noise, loss_of(found).detach(), self.backend)
            return found
        finally:
            self._inside = False

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self.ledger.starts(item.nodeid)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """What a worker of xdist has found."""
        counts, differences = getattr(node, "workeroutput", {}).get(KEY, ((), ()))
        self.ledger.counts.update({(what, why): n for what, why, n in counts})
        self.ledger.differences += differences

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if (output := getattr(session.config, "workeroutput", None)) is not None:
            counts = [(what, why, n) for (what, why), n in self.ledger.counts.items()]
            output[KEY] = counts, self.ledger.differences
        elif self.ledger.differences and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        write, counts = terminalreporter.write_line, self.ledger.counts
        write(f"shadow: {counts['losses', '']} losses, {counts['compared', '']} compared in double")
        for what in sorted({what for what, _ in counts} - {"losses", "compared"}):
            reasons = Counter({why: n for (kind, why), n in counts.items() if kind == what})
            write(f"shadow: {what}: {reasons.total()}")
            for why, n in reasons.most_common(12):
                write(f"    {n} {why}")
        for said, n in Counter(self.ledger.differences).items():
            write(f"shadow: DIFFERENT {said} ({n})", red=True)


def add_option(parser: pytest.Parser) -> None:
    words = "compute every loss of ours anew: by its own pass, by a graph and by Pyro's class"
    parser.addoption("--shadow", action="store_const", const="aten", help=words)
    compiled = {"dest": "shadow", "action": "store_const", "const": "inductor"}
    parser.addoption("--shadow-compiled", help="the same with compiled graphs", **compiled)


def configure(config: pytest.Config) -> None:
    if backend := config.getoption("--shadow"):
        torch.set_num_threads(1)
        config.pluginmanager.register(Shadow(backend), "shadow")
