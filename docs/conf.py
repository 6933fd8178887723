"""Sphinx configuration: `make docs`."""

from importlib.metadata import version as version_of

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

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": "plot_",
    "remove_config_comments": True,
    "show_memory": False,
}
