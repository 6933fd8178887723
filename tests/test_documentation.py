"""The documentation: snippets run, the API page is complete, words are those of the glossary."""

import re
from importlib import import_module
from pathlib import Path

import pytest

from tests.helpers.tiny_models import TINY_SCORER

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
if not DOCS.is_dir():
    pytest.skip("the documentation is not in this installation", allow_module_level=True)

PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "examples/*.py", "benchmarks/*.py")
    for page in ROOT.glob(pattern)
    if not {"_build", "auto_examples"} & set(page.parts)
)
PUBLIC_MODULES = [
    "sk_sentemb",
    "sk_sentemb.bulk",
    "sk_sentemb.cache",
    "sk_sentemb.datasets",
    "sk_sentemb.display",
    "sk_sentemb.exceptions",
    "sk_sentemb.losses",
    "sk_sentemb.losses.cross_encoder",
    "sk_sentemb.metrics",
    "sk_sentemb.preprocessing",
]
# British spellings, and words that the glossary replaces by a term.
REPLACED_WORDS = re.compile(
    r"\b(anew|beside|judgements?|labell\w+|learnt|licences?|neighbours?|nobody|number formats?"
    r"|pictures?|shall|stands?|colour\w*|grey\w*|\w*(?:initialis|normalis|recognis|tokenis)\w*)\b",
    re.IGNORECASE,
)


def name_of(page):
    return str(page.relative_to(ROOT))


def snippets_of(page):
    """Yield the Python blocks of a page, without those under the name of another package."""
    caption = None
    for block in re.split(r"^```", page.read_text(), flags=re.MULTILINE):
        if block.startswith("python\n") and (caption is None or caption.startswith("sk_sentemb")):
            yield block.removeprefix("python\n")
        for line in block.splitlines():
            if title := re.fullmatch(r"\*\*([^*]+)\*\*", line):
                caption = title[1]
            elif line.startswith(("#", ":::")) and not line.endswith("compare"):
                caption = None


@pytest.mark.parametrize("package", ["sentence_transformers", "setfit", "embetter", "skrub"])
def test_snippets_of_a_migration_guide_run(package, tmp_path, monkeypatch):
    if package == "skrub":
        pytest.importorskip("skrub")
    monkeypatch.chdir(tmp_path)
    names = {}
    for snippet in snippets_of(DOCS / f"how_to/migrate_from_{package}.md"):
        # Not among the models that can be installed.
        exec(snippet.replace("cross-encoder/ms-marco-MiniLM-L6-v2", str(TINY_SCORER)), names)


@pytest.mark.slow
def test_snippets_of_the_first_pipeline_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for snippet in snippets_of(DOCS / "getting_started/first_pipeline.md"):
        exec(snippet, names)
    assert names["scores"].mean() > 0.88


@pytest.mark.parametrize("page", ["search", "recommendation", "displays", "evaluation"])
def test_snippets_of_a_page_on_search_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    names = {}
    for snippet in snippets_of(DOCS / f"user_guide/{page}.md"):
        if "import mteb" not in snippet:  # it downloads tasks
            exec(snippet, names)


@pytest.mark.parametrize("page", [page for page in PAGES if page.suffix == ".md"], ids=name_of)
def test_imports_in_snippets_succeed(page):
    imports = r"^(?:from sk_sentemb[\w.]* import .+|import sk_sentemb.*)$"
    for line in re.findall(imports, page.read_text(), flags=re.MULTILINE):
        exec(line, {})


@pytest.mark.parametrize("module", PUBLIC_MODULES)
def test_api_page_lists_every_public_name(module):
    listed, current = {}, None
    for line in (DOCS / "api/index.md").read_text().splitlines():
        if line.startswith(".. currentmodule:: "):
            current = line.removeprefix(".. currentmodule:: ")
        elif re.fullmatch(r"   \w+", line):
            listed.setdefault(line.strip(), set()).add(current)
    for name in set(import_module(module).__all__) - {"__version__"}:
        assert listed.get(name, set()) & {module, "sk_sentemb"}, name


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_pages_use_the_words_of_the_glossary(page):
    if page.name == "glossary.md":
        pytest.skip("it lists the words")
    found = [
        f"{number}: {line.strip()}"
        for number, line in enumerate(page.read_text().splitlines(), start=1)
        if REPLACED_WORDS.search(line)
    ]
    assert not found, "\n".join(found)
