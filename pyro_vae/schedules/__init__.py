r"""Schedules of β: pure functions of the training step, in one grammar for code, CLI and config.

==========================================  ===================================================
text                                        β
==========================================  ===================================================
``0.5``, ``constant:0.5``                   the same at every step
``linear:0,1,steps=1000``                   from 0 at step 0 to 1 at step 1000, then 1
``cosine:0,1,epochs=10``                    the same ends, flat at both
``sigmoid:0,1,steps=1000``                  the same ends, a logistic curve between them
``cyclical:0,1,period=500,ratio=0.5``       a linear ramp over half of each period, then hold
``cyclical:0,1,period=5epochs,ratio=0.5``   the same, its period in epochs
==========================================  ===================================================

A schedule in epochs is resolved by :meth:`Schedule.in_steps` before it is called.
"""

from .parsing import parse
from .schedule import SHAPES, Length, Schedule, check_length

__all__ = ["SHAPES", "Length", "Schedule", "check_length", "parse"]
