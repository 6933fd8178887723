import ast
import inspect
import re
import subprocess
import sys
from importlib import import_module

import pytest
from numpydoc.docscrape import NumpyDocString
from numpydoc.validate import validate

import sk_sentemb
from sk_sentemb._docstrings import substitute_docstring
from sk_sentemb.cache.single_flight import Cache
from sk_sentemb.losses import Loss

MODULES = [
    "sk_sentemb",
    "sk_sentemb.bulk",
    "sk_sentemb.cache",
    "sk_sentemb.datasets",
    "sk_sentemb.display",
    "sk_sentemb.preprocessing",
    "sk_sentemb.losses",
    "sk_sentemb.losses.cross_encoder",
    "sk_sentemb.metrics",
]

# See Also and a longer description are there where they help.
NOT_REQUIRED = {"SA01", "ES01"}

# Not built by users, so that its docstring lists attributes instead of parameters.
NOT_CONSTRUCTED = {
    "sk_sentemb.Encoder",
    "sk_sentemb.bulk.EmbeddedDataset",
    "sk_sentemb.cache.CacheStatistics",
    "sk_sentemb.losses.Batch",
    "sk_sentemb.losses.DataFormat",
    "sk_sentemb.losses.Loss",
    "sk_sentemb.metrics.RetrievalReport",
    "sk_sentemb.metrics.RetrieverComparison",
    "sk_sentemb.metrics.TranslationAccuracy",
}


def public_objects():
    for module in map(import_module, MODULES):
        for name in module.__all__:
            if callable(value := getattr(module, name)):
                yield f"{module.__name__}.{name}", value


def public_methods():
    for name, value in public_objects():
        if inspect.isclass(value):
            for method, function in vars(value).items():
                # What caches do for embedders, and losses for the loop, is described once.
                inherited = value is not Loss and any(hasattr(a, method) for a in (Cache, Loss))
                public = not (method.startswith("_") or inherited)
                if inspect.isfunction(function) and public:
                    yield f"{name}.{method}", function


# Estimators call these; users call `encode`.
INTERNAL_METHODS = {
    f"sk_sentemb.Encoder.{name}"
    for name in (
        "replace",
        "encoding_params",
        "resolve_prompt",
        "resolve_batch_tokens",
        "resolve_max_length",
        "forward",
    )
}

OBJECTS = dict(public_objects())
METHODS = {k: v for k, v in public_methods() if k not in INTERNAL_METHODS}
SIGNATURES = {**OBJECTS, **METHODS}
WITH_DEFAULTS = [name for name in SIGNATURES if name not in NOT_CONSTRUCTED]


def complaints(name, not_required):
    found = validate(name)["errors"]
    return [f"{code}: {text}" for code, text in found if code not in not_required]


@pytest.mark.parametrize("name", OBJECTS)
def test_docstring_of_a_public_name(name):
    constructed = {"PR01", "EX01"} if name in NOT_CONSTRUCTED else set()
    assert complaints(name, NOT_REQUIRED | constructed) == []


@pytest.mark.parametrize("name", METHODS)
def test_docstring_of_a_public_method(name):
    assert complaints(name, NOT_REQUIRED | {"EX01"}) == []


@pytest.mark.parametrize("name", WITH_DEFAULTS)
def test_docstring_has_the_defaults_of_the_signature(name):
    function, documented = SIGNATURES[name], {}
    for parameter in NumpyDocString(inspect.getdoc(function))["Parameters"]:
        _, is_given, default = parameter.type.partition("default=")
        if is_given:
            for one in parameter.name.split(", "):
                documented[one] = ast.literal_eval(default)
        elif parameter.type == "Ignored":  # by scikit-learn's convention
            documented[parameter.name] = None
    in_signature = {
        parameter.name: parameter.default
        for parameter in inspect.signature(function).parameters.values()
        if parameter.default is not parameter.empty
    }
    assert documented == in_signature


@pytest.mark.parametrize("name", SIGNATURES)
def test_docstring_has_no_placeholder_left(name):
    assert not re.search(r"^ *\{\w+\}$", inspect.getdoc(SIGNATURES[name]), re.MULTILINE)


def test_substitute_docstring_without_a_docstring():
    # transformers does not import under -OO, so this is as close as it gets.
    code = (
        "from sk_sentemb._docstrings import substitute_docstring as substitute;"
        "print(substitute(substitute).__doc__)"
    )
    found = subprocess.run([sys.executable, "-OO", "-c", code], capture_output=True, text=True)
    assert found.stdout.strip() == "None", found.stderr


def test_substitute_docstring_needs_a_known_name():
    def function():
        """{unknown}"""

    with pytest.raises(KeyError, match="unknown"):
        substitute_docstring(function)


def test_import_loads_nothing_heavy():
    code = "import sys, sk_sentemb; print(*{'torch', 'transformers', 'sklearn'} & set(sys.modules))"
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    assert found.stdout.strip() == ""


def test_dir_lists_the_public_names():
    assert dir(sk_sentemb) == sorted(sk_sentemb.__all__)
    assert {"SentenceEmbedder", "load_encoder", "__version__"} <= set(dir(sk_sentemb))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'sk_sentemb' has no attribute 'Embedder'"):
        sk_sentemb.Embedder  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'Embedder'"):
        from sk_sentemb import Embedder  # noqa: F401
