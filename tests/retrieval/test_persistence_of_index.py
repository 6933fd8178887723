"""Saved, pickled and copied indexes find what the original found, also in another process."""

import copy
import json
import pickle
import shutil

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sk_sentemb import FineTuner, SemanticIndex, SentenceEmbedder, release_models
from sk_sentemb.exceptions import MissingTextWarning, ModelChangedError
from tests.helpers.tiny_models import OTHER, PROMPTED, TINY

pytestmark = pytest.mark.usefixtures("one_thread")

TEXTS = [f"the {'ferry' if i % 2 else 'market'} opens at {i}" for i in range(30)]
QUERIES = ["a ferry", "the market of the day", "at 7"]
DOCUMENTS = pd.DataFrame(
    {
        "id": [f"doc-{i}" for i in range(30)],
        "text": TEXTS,
        "year": np.arange(30, dtype="int16") + 1990,
        "kind": pd.Categorical(["land", "sea"] * 15),
    }
)
TUNER = FineTuner(epochs=1, batch_size=8, random_state=0)


def assert_same_index(found, expected):
    """Compare two indexes by all they show, and by what they find."""
    for name in ("ids_", "embeddings_"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    names = ("n_samples_fit_", "embedding_dim_", "index_", "recall_", "fingerprint_")
    for name in (*names, "query_prompt_", "document_prompt_", "n_features_in_"):
        assert getattr(found, name) == getattr(expected, name), name
    pd.testing.assert_frame_equal(found.documents_, expected.documents_)
    pd.testing.assert_frame_equal(found.search(QUERIES, n=5), expected.search(QUERIES, n=5))
    np.testing.assert_array_equal(
        found.kneighbors(n_neighbors=4), expected.kneighbors(n_neighbors=4)
    )


def through_folder(index, folder, **options):
    index.save(folder)
    return SemanticIndex.load(folder, **options)


BACKENDS = ["usearch", "usearch:f32", "faiss", "faiss:HNSW16", "faiss:IVF2,Flat", "milvus"]


@pytest.fixture(params=BACKENDS)
def approximate(request):
    """Return an index of which documents were removed, and to which others were added."""
    index = SemanticIndex(SentenceEmbedder(TINY), index=request.param, rescore=2, n_neighbors=3)
    index.fit(DOCUMENTS[:25]).remove(["doc-3", "doc-7"])
    return index.partial_fit(DOCUMENTS[25:])


def test_an_approximate_index_finds_the_same_however_it_is_stored(tmp_path, approximate):
    loaded = through_folder(approximate, tmp_path / "index")
    found = [loaded, pickle.loads(pickle.dumps(loaded)), copy.deepcopy(loaded)]
    joblib.dump(loaded, tmp_path / "joblib")
    found += [joblib.load(tmp_path / "joblib"), pickle.loads(pickle.dumps(approximate))]
    found.append(through_folder(loaded, tmp_path / "index"))
    for index in found:
        assert_same_index(index, approximate)
        assert index._slot._backend is not None  # it was not built anew


def test_a_loaded_approximate_index_can_change(tmp_path, approximate):
    loaded = through_folder(approximate, tmp_path)
    for index in (loaded, approximate):
        new = DOCUMENTS[3:4].assign(id="new", text="a ferry of the market")
        index.remove(["doc-11"]).partial_fit(new).partial_fit(DOCUMENTS[7:8])
    assert_same_index(loaded, approximate)
    assert loaded.search(["a ferry of the market"], n=1)["id"].tolist() == ["new"]


@pytest.mark.parametrize("metric", ["cosine", "dot"])
@pytest.mark.parametrize("model", [TINY, PROMPTED])
def test_a_loaded_index_finds_the_same(tmp_path, metric, model):
    index = SemanticIndex(SentenceEmbedder(model), metric=metric, n_neighbors=np.int64(3))
    index.fit(DOCUMENTS)
    found = through_folder(index, tmp_path)
    assert_same_index(found, index)
    assert isinstance(found.embeddings_, np.memmap)
    # Another fit starts from the same parameters.
    assert found.get_params(deep=False).keys() == index.get_params(deep=False).keys()
    assert found.embedder.get_params() == index.embedder.get_params() | {"model": str(model)}
    assert_same_index(clone(found).fit(DOCUMENTS), index)
    assert_same_index(through_folder(found, tmp_path), index)


def test_the_default_embedder_stays_the_default(tmp_path):
    index = SemanticIndex().fit(TEXTS)
    found = through_folder(index, tmp_path)
    assert found.embedder is None
    assert_same_index(found, index)


def test_prompts_are_those_of_fit(tmp_path):
    index = SemanticIndex(
        SentenceEmbedder(PROMPTED, n_jobs=1), query_prompt="ask: ", document_prompt=None, verbose=0
    ).fit(DOCUMENTS)
    found = through_folder(index, tmp_path)
    assert_same_index(found, index)
    assert found.embedder.prompt is None
    given = SemanticIndex.load(tmp_path, embedder=SentenceEmbedder(PROMPTED))
    assert_same_index(given, index)


def test_missing_texts_stay_missing(tmp_path):
    with pytest.warns(MissingTextWarning):
        index = SemanticIndex(SentenceEmbedder(TINY)).fit([*TEXTS, None, "\ud800", ""])
    found = through_folder(index, tmp_path)
    assert_same_index(found, index)
    assert found.documents_["text"].isna().sum() == 1
    assert found.documents_["text"][31] == "\ud800"


@pytest.mark.parametrize(
    "ids", [["a", "\ud800", "c"], [1, 2, -3], [1.5, 2.0, 3.0], [b"a", b"b", b"c"]]
)
def test_ids_keep_their_values_and_types(tmp_path, ids):
    index = SemanticIndex(SentenceEmbedder(TINY)).fit(TEXTS[:3], id=ids)
    found = through_folder(index, tmp_path)
    pd.testing.assert_frame_equal(found.documents_, index.documents_)
    pd.testing.assert_frame_equal(found.search(QUERIES), index.search(QUERIES))
    assert [*map(type, found.ids_.tolist())] == [*map(type, index.ids_.tolist())]
    assert found.remove(ids[1:2]).ids_.tolist() == [ids[0], ids[2]]


@pytest.mark.parametrize("wrap", [lambda embedder: embedder, FrozenEstimator])
def test_an_index_of_a_fine_tuned_embedder_needs_no_other_files(tmp_path, wrap):
    model = shutil.copytree(TINY, tmp_path / "model")
    embedder = SentenceEmbedder(model, fine_tuner=TUNER).fit(TEXTS, [0, 1] * 15)
    index = SemanticIndex(wrap(embedder)).fit(DOCUMENTS)
    shutil.rmtree(model)
    index.save(tmp_path / "index")
    release_models()
    found = SemanticIndex.load(tmp_path / "index")
    assert_same_index(found, index)
    # Nor those of the index, once it is loaded.
    shutil.rmtree(tmp_path / "index")
    assert_same_index(pickle.loads(pickle.dumps(found)), index)
    assert_same_index(clone(found).fit(DOCUMENTS), index)


def test_a_changed_model_is_refused(tmp_path):
    model = shutil.copytree(TINY, tmp_path / "model")
    index = SemanticIndex(SentenceEmbedder(model)).fit(DOCUMENTS)
    index.save(tmp_path / "index")
    shutil.rmtree(model)
    shutil.copytree(OTHER, model)
    with pytest.raises(ModelChangedError, match="have changed"):
        SemanticIndex.load(tmp_path / "index")
    with pytest.raises(ModelChangedError, match="whose fingerprint is"):
        SemanticIndex.load(tmp_path / "index", embedder=SentenceEmbedder(OTHER))
    shutil.rmtree(model)
    assert_same_index(
        SemanticIndex.load(tmp_path / "index", embedder=SentenceEmbedder(TINY)), index
    )


def make_lsa():
    return make_pipeline(TfidfVectorizer(), TruncatedSVD(4, random_state=0))


def test_another_transformer_is_passed_as_it_was_fitted(tmp_path, run_python):
    index = SemanticIndex(make_lsa()).fit(DOCUMENTS)
    index.save(tmp_path / "index")
    with pytest.raises(ValueError, match=r"type sklearn.pipeline.Pipeline, .* load\(folder, embed"):
        SemanticIndex.load(tmp_path / "index")
    assert_same_index(SemanticIndex.load(tmp_path / "index", embedder=index.embedder_), index)
    joblib.dump(index.embedder_, tmp_path / "lsa")
    run_python(
        "import joblib, sys; from sk_sentemb import SemanticIndex\n"
        "SemanticIndex.load(sys.argv[1], embedder=joblib.load(sys.argv[2]))",
        tmp_path / "index",
        tmp_path / "lsa",
    )
    other = make_lsa().fit(TEXTS[:9])
    with pytest.raises(ModelChangedError, match="other embeddings than they have"):
        SemanticIndex.load(tmp_path / "index", embedder=other)


def test_a_pipeline_on_a_sentence_embedder_keeps_its_prompts(tmp_path):
    pipeline = make_pipeline(SentenceEmbedder(PROMPTED), TruncatedSVD(8, random_state=0))
    index = SemanticIndex(pipeline).fit(DOCUMENTS)
    assert index.query_prompt_ != index.document_prompt_
    index.save(tmp_path)
    assert_same_index(SemanticIndex.load(tmp_path, embedder=index.embedder_), index)


@pytest.mark.parametrize("how", ["save", "pickle", "joblib"])
@pytest.mark.parametrize("mapped", [False, True])
def test_another_process_finds_the_same(tmp_path, run_python, how, mapped):
    index = SemanticIndex(SentenceEmbedder(TINY)).fit(DOCUMENTS)
    if mapped:
        index = through_folder(index, tmp_path / "mapped")
    file = tmp_path / "index"
    if how == "save":
        index.save(file)
    elif how == "pickle":
        file.write_bytes(pickle.dumps(index))
    else:
        joblib.dump(index, file)
    shutil.rmtree(tmp_path / "mapped", ignore_errors=True)
    code = (
        "import joblib, json, pickle, sys; from sk_sentemb import SemanticIndex\n"
        "from pathlib import Path; how, file, queries = sys.argv[1:]\n"
        "read = {'save': SemanticIndex.load, 'joblib': joblib.load,"
        " 'pickle': lambda file: pickle.loads(Path(file).read_bytes())}[how]\n"
        "index = read(file); distances, rows = index.kneighbors(json.loads(queries), 5)\n"
        "print(json.dumps([distances.tolist(), rows.tolist()]))"
    )
    found = json.loads(run_python(code, how, file, json.dumps(QUERIES)).stdout)
    for values, expected in zip(found, index.kneighbors(QUERIES, 5), strict=True):
        np.testing.assert_array_equal(np.asarray(values, dtype=expected.dtype), expected)


@pytest.mark.parametrize("mapped", [False, True])
def test_copies_find_the_same(tmp_path, mapped):
    index = SemanticIndex(SentenceEmbedder(TINY)).fit(DOCUMENTS)
    if mapped:
        index = through_folder(index, tmp_path)
    for copied in (copy.copy(index), copy.deepcopy(index), pickle.loads(pickle.dumps(index))):
        assert_same_index(copied, index)


def test_an_index_that_is_not_fitted_is_not_saved(tmp_path):
    with pytest.raises(ValueError, match="not fitted"):
        SemanticIndex().save(tmp_path / "index")
    assert not (tmp_path / "index").exists()


def test_a_quantizer_needs_a_pickle(tmp_path):
    quantizer = FunctionTransformer(np.float16, np.float32, check_inverse=False)
    index = SemanticIndex(SentenceEmbedder(TINY), quantizer=quantizer).fit(DOCUMENTS)
    for changed in (index, copy.copy(index).set_params(quantizer=None)):
        with pytest.raises(TypeError, match="cannot be saved without a pickle"):
            changed.save(tmp_path / "index")
    assert not (tmp_path / "index").exists()
    assert_same_index(pickle.loads(pickle.dumps(index)), index)
