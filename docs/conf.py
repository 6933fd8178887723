"""Sphinx configuration: `make docs`."""

from importlib.metadata import version as version_of

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


def examples_without_data() -> str:
    """Match the examples whose texts cannot be had here."""
    try:
        fetch_banking77(subset="test")
    except OSError:
        return "plot_(clustering|few_shot)\\.py"
    return r"$^"


sphinx_gallery_conf = {
    "ignore_pattern": examples_without_data(),
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": "plot_",
    "remove_config_comments": True,
    "show_memory": False,
}
