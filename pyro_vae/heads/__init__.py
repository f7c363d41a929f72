r"""Heads: what turns a network's raw output into a distribution.

A head is a *family* (any callable that returns a Pyro distribution), the family's *parameters*,
each with a *scope* (a fixed number, or learned per dataset, dimension, image or pixel) and a link
to its constrained range, and how its distribution is *displayed*. The encoder's head gives q(z|x),
the decoder's p(x|z); both are this same class.

An event is grid × site: the sites of the grid (pixels, colour channels) are conditionally
independent, and whatever event the family has of its own lives inside a site.
"""

from pyro_vae.heads.built import BuiltHead
from pyro_vae.heads.head import Head
from pyro_vae.heads.param import SCOPES, Param

__all__ = ["SCOPES", "BuiltHead", "Head", "Param"]
