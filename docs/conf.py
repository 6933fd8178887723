"""Sphinx configuration: `make docs`."""

import os
from importlib.metadata import version as version_of
from pathlib import Path

from sk_sentemb.datasets import fetch_banking77

project = "sk_sentemb"
author = "The sk_sentemb developers"
copyright = "2026, The sk_sentemb developers"
version = release = version_of("sk-sentemb")

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]
myst_heading_anchors = 2

html_theme = "pydata_sphinx_theme"
html_title = "sk_sentemb"

autosummary_generate = True
numpydoc_show_class_members = False


shared = Path(__file__).parents[1] / "../shared/data"
data = Path(os.environ.get("SK_SENTEMB_DATA", shared))
# Examples that end early without a folder of it, and the build with them.
examples_of = {
    "banking77": ["end_to_end"],
    "clothing": ["multimodal", "tabular_and_text"],
    "sick": ["nli"],
    "stsb": ["cross_encoder"],
}


def examples_without_data() -> str:
    """Match the examples whose texts cannot be had here."""
    absent = [folder for folder in examples_of if not (data / folder).is_dir()]
    without = [name for folder in absent for name in examples_of[folder]]
    try:
        fetch_banking77(subset="test")
    except OSError:
        without += ["clustering", "few_shot"]
    return rf"plot_({'|'.join(without)})\.py" if without else r"$^"


sphinx_gallery_conf = {
    "ignore_pattern": examples_without_data(),
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": "plot_",
    "remove_config_comments": True,
    "show_memory": False,
}
