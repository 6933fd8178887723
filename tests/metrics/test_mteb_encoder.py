import pickle

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.pipeline import make_pipeline

from sk_sentemb import FineTuner, SentenceEmbedder
from sk_sentemb.exceptions import PromptWarning
from sk_sentemb.metrics import as_mteb, ndcg_at_k, recall_at_k
from tests.helpers.checkpoints import make_checkpoint
from tests.helpers.tiny_models import PROMPTED, PROMPTS, TINY

mteb = pytest.importorskip("mteb", reason="not installed with the oldest versions")

DOCUMENTS = {
    "d1": "The ferry leaves at noon.",
    "d2": "Fresh fish is sold at the market.",
    "d3": "The museum is closed on Mondays.",
    "d4": "A boat crosses the river every hour.",
}
QUERIES = {"q1": "when does the boat leave", "q2": "where to buy fish", "q3": "museum hours"}
RELEVANT = {"q1": {"d1": 1, "d4": 1}, "q2": {"d2": 1}, "q3": {"d3": 1}}


def describe_task(name, kind, main_score):
    return mteb.TaskMetadata(
        name=name,
        description="Sentences of a harbor town.",
        dataset={"path": "local/harbor", "revision": "1"},
        type=kind,
        category="t2t",
        modalities=["text"],
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score=main_score,
        reference=None,
        date=("2026-01-01", "2026-01-01"),
        domains=[],
        task_subtypes=[],
        license="cc-by-4.0",
        annotations_creators="derived",
        dialect=[],
        sample_creation="created",
        bibtex_citation="",
    )


def make_retrieval_task():
    from datasets import Dataset

    class HarborRetrieval(mteb.abstasks.AbsTaskRetrieval):
        metadata = describe_task("HarborRetrieval", "Retrieval", "ndcg_at_10")

        def load_data(self, **kwargs):
            queries = [{"id": i, "text": text} for i, text in QUERIES.items()]
            corpus = [{"id": i, "text": text, "title": ""} for i, text in DOCUMENTS.items()]
            data = {
                "queries": Dataset.from_list(queries),
                "corpus": Dataset.from_list(corpus),
                "relevant_docs": RELEVANT,
                "top_ranked": None,
            }
            self.dataset = {"default": {"test": data}}
            self.data_loaded = True

    return HarborRetrieval()


def make_sts_task(pairs):
    from datasets import Dataset, DatasetDict

    class HarborSTS(mteb.abstasks.AbsTaskSTS):
        metadata = describe_task("HarborSTS", "STS", "cosine_spearman")
        min_score, max_score = 0, 5

        def load_data(self, **kwargs):
            self.dataset = DatasetDict({"test": Dataset.from_pandas(pairs, preserve_index=False)})
            self.data_loaded = True

    return HarborSTS()


def make_classification_task():
    from datasets import Dataset, DatasetDict

    class HarborClassification(mteb.abstasks.AbsTaskClassification):
        metadata = describe_task("HarborClassification", "Classification", "accuracy")
        n_experiments, samples_per_label = 2, 4

        def load_data(self, **kwargs):
            rows = [
                {"text": f"{text} {extra}", "label": int(i in ("d1", "d4"))}
                for i, text in DOCUMENTS.items()
                for extra in ("Come and see.", "Ask in the port.", "It is free.")
            ]
            data = Dataset.from_list(rows)
            self.dataset = DatasetDict({"train": data, "test": data})
            self.data_loaded = True

    return HarborClassification()


def evaluate(model, task):
    result = mteb.evaluate(model, task, cache=None, show_progress_bar=False, co2_tracker=False)
    (task_result,) = result.task_results
    (scores,) = task_result.scores["test"]
    return scores


def test_retrieval_scores_are_ours():
    embedder = SentenceEmbedder(PROMPTED)
    scores = evaluate(as_mteb(embedder), make_retrieval_task())
    queries = SentenceEmbedder(PROMPTED, prompt_name="query").fit_transform(list(QUERIES.values()))
    documents = SentenceEmbedder(PROMPTED, prompt_name="document")
    products = cosine_similarity(queries, documents.fit_transform(list(DOCUMENTS.values())))
    rankings = [dict(zip(DOCUMENTS, row, strict=True)) for row in products]
    judgments = list(RELEVANT.values())
    assert scores["ndcg_at_10"] == pytest.approx(ndcg_at_k(judgments, rankings), abs=1e-5)
    assert scores["recall_at_1"] == pytest.approx(recall_at_k(judgments, rankings, 1), abs=1e-5)


def test_similarity_scores_are_those_of_the_embedder():
    texts = list(DOCUMENTS.values())
    pairs = pd.DataFrame(
        {
            "sentence1": texts + texts[:2],
            "sentence2": texts[1:] + texts[:1] + texts[2:],
            "score": [1.0, 0.5, 2.0, 4.0, 3.0, 0.0],
        }
    )
    embedder = SentenceEmbedder(TINY).fit(texts)
    scores = evaluate(as_mteb(embedder), make_sts_task(pairs))
    left, right = (embedder.transform(pairs[name]) for name in ("sentence1", "sentence2"))
    cosines = np.diag(cosine_similarity(left, right))
    expected = spearmanr(cosines, pairs["score"]).statistic
    assert scores["cosine_spearman"] == pytest.approx(expected, abs=1e-6)


def test_classification_task_runs():
    assert evaluate(as_mteb(SentenceEmbedder(TINY)), make_classification_task())["accuracy"] > 0.5


def encode(model, texts, side=None):
    prompt_type = None if side is None else mteb.types.PromptType(side)
    half = len(texts) // 2
    batches = [{"text": texts[:half]}, {"text": texts[half:]}]
    return model.encode(batches, prompt_type=prompt_type, task_metadata=None, batch_size=2)


@pytest.mark.parametrize(
    ("arguments", "prompts"),
    [
        ({}, PROMPTS),
        ({"query_prompt": None, "document_prompt": "query"}, {"query": "", "document": "ferry: "}),
        ({"query_prompt": "Find: "}, {"query": "Find: ", "document": "market: "}),
    ],
)
@pytest.mark.parametrize("in_pipeline", [False, True])
def test_prompts_of_both_sides(arguments, prompts, in_pipeline):
    texts = list(DOCUMENTS.values())
    embedder = SentenceEmbedder(PROMPTED)
    model = make_pipeline(embedder, PCA(2, random_state=0)) if in_pipeline else embedder
    model.fit(texts)
    wrapped = as_mteb(FrozenEstimator(model), **arguments)
    own = model.transform(texts)
    np.testing.assert_array_equal(encode(wrapped, texts), own)
    for side, prompt in prompts.items():
        expected = SentenceEmbedder(PROMPTED, prompt=prompt).fit_transform(texts)
        expected = model[-1].transform(expected) if in_pipeline else expected
        np.testing.assert_allclose(encode(wrapped, texts, side), expected, atol=1e-6)
    # The embedder is as it was.
    assert embedder.get_params()["prompt"] is None
    np.testing.assert_array_equal(model.transform(texts), own)


def test_own_prompt_of_the_embedder_is_used_on_both_sides():
    model = as_mteb(SentenceEmbedder(PROMPTED, prompt="Read: "))
    texts = list(DOCUMENTS.values())
    own = encode(model, texts)
    for side in PROMPTS:
        np.testing.assert_array_equal(encode(model, texts, side), own)


def test_e5_models_have_their_prompts(tmp_path):
    folder = make_checkpoint(tmp_path / "multilingual-e5-tiny")
    model = as_mteb(SentenceEmbedder(folder))
    texts = list(DOCUMENTS.values())
    for side, prompt in {"query": "query: ", "document": "passage: "}.items():
        expected = SentenceEmbedder(folder, prompt=prompt).fit_transform(texts)
        np.testing.assert_array_equal(encode(model, texts, side), expected)
    assert model.mteb_model_meta.name == "sk_sentemb/multilingual-e5-tiny"


def test_stored_results_of_another_embedder_are_not_returned(tmp_path):
    cache = mteb.ResultCache(tmp_path)
    task = make_retrieval_task()
    scores = []
    for arguments in ({}, {"query_prompt": "Find: "}, {}):
        model = as_mteb(SentenceEmbedder(PROMPTED), **arguments)
        mteb.evaluate(model, task, cache=cache, show_progress_bar=False, co2_tracker=False)
        scores.append(model.mteb_model_meta.revision)
    assert scores[0] == scores[2] != scores[1]
    assert len(list(tmp_path.rglob("HarborRetrieval.json"))) == 2


def test_other_transformers_and_pickles():
    texts = list(DOCUMENTS.values())
    lexical = make_pipeline(TfidfVectorizer(), TruncatedSVD(2, random_state=0)).fit(texts)
    model = pickle.loads(pickle.dumps(as_mteb(lexical, name="harbor/tfidf")))
    np.testing.assert_array_equal(
        encode(model, texts, "query"), lexical.transform(texts).astype(np.float32)
    )
    assert model.mteb_model_meta.name == "harbor/tfidf"
    with pytest.raises(ValueError, match=r"query_prompt='Find: ', but only a SentenceEmbedder"):
        as_mteb(lexical, query_prompt="Find: ")
    with pytest.raises(TypeError, match="sparse rows"):
        encode(as_mteb(TfidfVectorizer().fit(texts)), texts)


def test_embedders_that_need_data_must_be_fitted():
    for embedder in (SentenceEmbedder(TINY, fine_tuner=FineTuner()), TfidfVectorizer()):
        with pytest.raises(NotFittedError):
            as_mteb(embedder)


def test_tasks_of_other_inputs_are_refused():
    with pytest.raises(ValueError, match=r"inputs of the kinds \['image'\]"):
        as_mteb(SentenceEmbedder(TINY)).encode([{"image": [None]}])


def test_a_literal_prompt_that_lacks_a_space_is_reported():
    with pytest.warns(PromptWarning, match="its end is joined to the first word"):
        as_mteb(SentenceEmbedder(TINY), query_prompt="Find")


def test_metrics_load_without_mteb(run_python):
    run_python("import sys, sk_sentemb.metrics; assert 'mteb' not in sys.modules")
