"""Programs that a graph could get wrong without a word: each makes a step, many times over.

A situation is a function that returns ``step``: (objective, i) → what of loss and gradients there
is to see of the i-th step, on noise that was seeded by i.
"""

from . import arguments, around, modules, others, programs, reads, state
from .making import SITUATIONS, Net, Step, data, pair, seen
from .unseen import UNSEEN

__all__ = [
    "SITUATIONS",
    "UNSEEN",
    "Net",
    "Step",
    "arguments",
    "around",
    "data",
    "modules",
    "others",
    "pair",
    "programs",
    "reads",
    "seen",
    "state",
]
