"""Sphinx configuration: `make docs`. Nothing is downloaded here; see `examples_without_data`."""

import logging
import os
from importlib.metadata import version as package_version
from pathlib import Path

from sphinx.util import logging as sphinx_logging
from sphinx_gallery.sorting import ExplicitOrder

project = "sk_sentemb"
author = "The sk_sentemb developers"
copyright = "2026, The sk_sentemb developers"
version = release = package_version("sk-sentemb")

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "_templates"]
templates_path = ["_templates"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

html_theme = "pydata_sphinx_theme"
html_title = "sk_sentemb"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_theme_options = {
    "github_url": "https://github.com/sk-sentemb/sk_sentemb",
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
}

# API pages -----------------------------------------------------------------------------------

autosummary_generate = True
autodoc_typehints = "none"  # the types are in the docstrings
numpydoc_show_class_members = False  # docs/_templates/autosummary/class.rst lists them

nitpicky = True
# Third-party names, for builds without their inventories. With a network, intersphinx resolves them.
THIRD_PARTY = (
    "dask|joblib|matplotlib|numpy|pandas|PIL|polars|pyarrow|scipy|sklearn|torch|transformers"
)
nitpick_ignore_regex = [
    (r"py:.*", rf"({THIRD_PARTY})(\..*)?"),
    # scikit-learn's docstrings, which estimators inherit, refer to its own glossary and user guide.
    (r"std:term", r".*"),
    # numpydoc links class attributes whose value has a docstring, such as `Loss.activation`.
    (r"py:obj", r"activation"),
]

intersphinx_mapping = {
    "python": ("https://docs.python.org/3", None),
    "numpy": ("https://numpy.org/doc/stable", None),
    "pandas": ("https://pandas.pydata.org/docs", None),
    "sklearn": ("https://scikit-learn.org/stable", None),
    "torch": ("https://docs.pytorch.org/docs/stable", None),
    "joblib": ("https://joblib.readthedocs.io/en/stable", None),
    "matplotlib": ("https://matplotlib.org/stable", None),
}
intersphinx_timeout = 5


def report_missing_inventories(record: logging.LogRecord) -> bool:
    """Turn the warning about unreachable inventories into a notice, so that offline builds pass."""
    if record.levelno == logging.WARNING and "failed to reach" in str(record.msg):
        record.levelno, record.levelname = logging.INFO, "INFO"
    return True


logging.getLogger("sphinx.sphinx.ext.intersphinx").addFilter(report_missing_inventories)

# Gallery -------------------------------------------------------------------------------------

DATA = Path(os.environ.get("SK_SENTEMB_DATA", Path(__file__).parents[1] / "../shared/data"))
# Examples that read a dataset which the package does not ship. Without it they are shown, but not run.
DATASET_OF_EXAMPLE = {
    "plot_clustering": "banking77",
    "plot_cross_encoder": "stsb",
    "plot_end_to_end": "banking77",
    "plot_few_shot": "banking77",
    "plot_multimodal": "clothing",
    "plot_nli": "sick",
    "plot_recommendation": "cranfield",
    "plot_semantic_search": "clothing",
    "plot_tabular_and_text": "clothing",
}
examples_without_data = {
    example: dataset
    for example, dataset in DATASET_OF_EXAMPLE.items()
    if not (DATA / dataset).is_dir()
}
# Likewise the examples that need a model which no package ships.
MULTILINGUAL = os.environ.get("SK_SENTEMB_MULTILINGUAL", "")
MODEL_OF_EXAMPLE = {"plot_cross_language": "multilingual-e5-small"}
examples_without_model = {} if Path(MULTILINGUAL or "none").is_dir() else MODEL_OF_EXAMPLE
examples_not_run = examples_without_data | examples_without_model

ORDER = [
    "quickstart.py",
    "plot_grid_search.py",
    "plot_tabular_and_text.py",
    "plot_clustering.py",
    "plot_semantic_search.py",
    "plot_recommendation.py",
    "plot_fine_tuning.py",
    "plot_few_shot.py",
    "plot_fine_tuning_search.py",
    "plot_matryoshka.py",
    "plot_cross_encoder.py",
    "plot_nli.py",
    "plot_cross_language.py",
    "plot_multimodal.py",
    "plot_end_to_end.py",
    "plot_image_and_text.py",
    "*",
]

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": (
        rf"[/\\](?!({'|'.join(examples_not_run) or '$'})\.py)(plot_\w+|quickstart)\.py$"
    ),
    "within_subsection_order": ExplicitOrder(ORDER),
    "remove_config_comments": True,
    "show_memory": False,
}


def report_examples_without_data(app):
    """Name the examples that this build shows without output."""
    logger = sphinx_logging.getLogger(__name__)
    for example, dataset in examples_without_data.items():
        logger.info("%s is not run: looks like a path %s/ in %s.", example, dataset, DATA)
    for example, model in examples_without_model.items():
        logger.info("%s is not run: set SK_SENTEMB_MULTILINGUAL to a folder of %s.", example, model)


def add_note_without_data(app, docname, source):
    """Say on an example's page that its dataset or model was missing when the page was built."""
    example = docname.rpartition("/")[2]
    missing = examples_not_run.get(example)
    if docname.startswith("auto_examples/") and missing:
        kind = "dataset" if example in examples_without_data else "model"
        source[0] += (
            f"\n\n.. note:: This example was not run, because the {kind} ``{missing}`` was not "
            "available when this page was built.\n"
        )


def skip_foreign_member(app, what, name, obj, skip, options):
    """Leave out members that scikit-learn documents, and attributes that are no properties."""
    if what not in {"class", "exception"}:
        return None
    function = obj.fget if isinstance(obj, property) else obj
    module = getattr(function, "__module__", None) or ""
    return None if callable(function) and module.startswith("sk_sentemb") else True


def resolve_bare_name(app, env, node, contnode):
    """Find a public name that a docstring of another module refers to without its module."""
    if node.get("refdomain") != "py":
        return None
    python = env.get_domain("py")
    for name, found in python.objects.items():
        is_public = found.objtype in {"class", "exception", "function"}
        if is_public and name.endswith(f".{node['reftarget']}"):
            docname = node.get("refdoc", env.docname)
            return python.resolve_xref(env, docname, app.builder, "obj", name, node, contnode)
    return None


def setup(app):
    """Connect the functions above."""
    app.connect("builder-inited", report_examples_without_data)
    app.connect("source-read", add_note_without_data)
    app.connect("autodoc-skip-member", skip_foreign_member)
    app.connect("missing-reference", resolve_bare_name)
