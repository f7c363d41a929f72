"""The site: ``sphinx-build -W -n docs build/site``."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "pyro_vae"
author = copyright = "the pyro_vae contributors"
release = version = version_of("pyro_vae")
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_click",
    "sphinx_copybutton",
    "mathml",
    "reference",
    "repository",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"pyro_vae {release}"
html_math_renderer = "mathml"
html_show_sourcelink = False

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]  # results.md is generated

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False  # what stands before a colon are words, and types are in signatures
copybutton_exclude = ".linenos, .gp, .go"

# Other libraries' documentation is elsewhere, and a build asks no network.
nitpick_ignore_regex = [
    (
        "py:.*",
        r"(torch|pyro|numpy|matplotlib|collections|contextlib|importlib|pathlib|abc|warnings|click|PIL)"
        r"\b(?!_).*",
    ),
    ("py:class", r"Path|Tensor|array|ArrayLike|pyro_vae\.data\.pictures\.[ST]"),
    (
        "py:class",
        r"Fields|JSON|Site|Given|Loaded|Values|Shape|Reliability",
    ),  # names for unions of types
    ("py:class", r"pyro_vae\..*LogitDistribution"),
    # What signatures name and nobody has to: parts of results, and what classes are made from.
    (
        "py:class",
        r"pyro_vae\.(sweeps\.\w+|data\.(gathered|levels|stored|tables?)|"
        r"distributions\.(discretized|interval_mass)|elbo\.(scores|terms)|history|"
        r"(latent|observed)_model|diagnostics\.headlines|loss_audit\.report|"
        r"metrics\.(classifier_network|reliability|results)|"
        r"observed|types)\.\w+",
    ),
    ("py:class", r".*[ \[].*"),  # words before a colon, which napoleon takes for a type
]
