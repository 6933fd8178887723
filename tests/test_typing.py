import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import sk_sentemb

ROOT = Path(sk_sentemb.__file__).parents[1]

SCRIPT = """\
from sk_sentemb import SentenceEmbedder
embedder = SentenceEmbedder("all-MiniLM-L6-v2", truncate_dim=128, missing="nan")
embeddings = embedder.fit_transform(["My card was stolen.", None])
print(embeddings.shape, embedder.embedding_dim_)
reveal_type(SentenceEmbedder)
"""


# Only the types of the package matter here, and mypy takes a minute for those of torch.
MYPY = """\
[mypy]
follow_imports = skip
[mypy-sk_sentemb.*]
follow_imports = silent
"""


def check_script(checker, code, folder):
    """Run a type checker in the root, where it finds the package, over a script elsewhere."""
    pytest.importorskip(checker, reason=f"{checker} is not installed")
    script, config = folder / "script.py", folder / "mypy.ini"
    script.write_text(code)
    config.write_text(MYPY)
    options = {
        "mypy": ["--config-file", config, "--cache-dir", folder / "cache"],
        "pyright": ["--pythonpath", sys.executable],
    }
    command = [sys.executable, "-m", checker, *options[checker], script]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_stub_has_the_names_of_the_package():
    stub = ast.parse(Path(sk_sentemb.__file__).with_suffix(".pyi").read_text())
    objects = {
        alias.asname: getattr(import_module(node.module), alias.name)
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert {*objects, "__version__"} == set(sk_sentemb.__all__)
    assert all(getattr(sk_sentemb, name) is value for name, value in objects.items())


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_type_checkers_accept_a_script(checker, tmp_path):
    result = check_script(checker, SCRIPT, tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    revealed = {"mypy": "-> sk_sentemb.embedder.SentenceEmbedder", "pyright": "type[SentenceEmb"}
    assert revealed[checker] in result.stdout


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_type_checkers_know_the_parameters(checker, tmp_path):
    wrong = SCRIPT.replace("truncate_dim=128", "truncate=128")
    result = check_script(checker, wrong, tmp_path)
    assert result.returncode == 1
    assert '"truncate"' in result.stdout
