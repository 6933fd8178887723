"""`prompt` is literal text, and `prompt_name` is a name that the checkpoint knows."""

import pickle
import warnings

import joblib
import numpy as np
import pytest
from sentence_transformers import CrossEncoder, SentenceTransformer
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sk_sentemb import (
    CrossEncoderClassifier,
    CrossEncoderScorer,
    FineTuner,
    SentenceClassifier,
    SentenceEmbedder,
    SentenceRegressor,
    load_encoder,
)
from sk_sentemb.cache import MemoryCache, prewarm
from tests.helpers.checkpoints import make_checkpoint, make_cross_encoder
from tests.helpers.tiny_models import NO_DROPOUT, assert_same_rows

TEXTS = ["The ferry passed.", "Gulls cried over the pier.", "Rain.", "The market was closed today."]
PAIRS = [(text, "Harbour gulls") for text in TEXTS]
PROMPTS = {"query": "the pier: ", "document": "Harbour: ", "bare": "", "same": "same"}

TUNER = FineTuner(epochs=1, batch_size=4, random_state=0)

ESTIMATORS = {
    "embedder": lambda folder, **how: SentenceEmbedder(folder, **how).fit(TEXTS),
    "tuned embedder": lambda folder, **how: SentenceEmbedder(folder, fine_tuner=TUNER, **how).fit(
        TEXTS, [0, 0, 1, 1]
    ),
    "classifier": lambda folder, **how: SentenceClassifier(folder, fine_tuner=TUNER, **how).fit(
        TEXTS, [0, 0, 1, 1]
    ),
    "regressor": lambda folder, **how: SentenceRegressor(folder, fine_tuner=TUNER, **how).fit(
        TEXTS, [0.0, 1.0, 2.0, 3.0]
    ),
    "scorer": lambda folder, **how: CrossEncoderScorer(folder, **how).fit(PAIRS),
    "tuned scorer": lambda folder, **how: CrossEncoderScorer(folder, fine_tuner=TUNER, **how).fit(
        PAIRS, [0, 1, 0, 1]
    ),
    "pair classifier": lambda folder, **how: CrossEncoderClassifier(
        folder, fine_tuner=TUNER, **how
    ).fit(PAIRS, [0, 1, 0, 1]),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Checkpoints with prompts: the tokens of the prompt count, they do not, pairs."""
    root = tmp_path_factory.mktemp("prompted")
    known = {"prompts": PROMPTS, "default_prompt_name": "document"}
    make_checkpoint(root / "texts", **known)
    make_checkpoint(root / "without", include_prompt=False, **known)
    make_cross_encoder(root / "pairs", style="new", **known)
    return root


@pytest.fixture
def fit(folders):
    """Fits an estimator, by its key, to a checkpoint with prompts."""

    def fit(key, **how):
        return ESTIMATORS[key](
            folders / ("pairs" if "scorer" in key or "pair" in key else "texts"), **how
        )

    return fit


def outputs(estimator):
    if hasattr(estimator, "decision_function"):
        X = PAIRS if type(estimator).__name__.startswith("Cross") else TEXTS
        return np.asarray(estimator.decision_function(X))
    return np.asarray(estimator.transform(TEXTS))


# sentence-transformers has the same meaning for both


@pytest.mark.parametrize("folder", ["texts", "without"])
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"prompt": ""},
        {"prompt_name": "query"},
        {"prompt_name": "bare"},
        {"prompt": "query"},
        {"prompt": "the tide of "},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:prompt='query' is literal text")
def test_embeddings_equal_those_of_sentence_transformers(folders, folder, how, tmp_path):
    reference = SentenceTransformer(str(folders / folder), device="cpu")
    embedder = SentenceEmbedder(folders / folder, device="cpu", **how).fit(TEXTS)
    expected = reference.encode(TEXTS, **how)
    assert_same_rows(embedder.transform(TEXTS), expected)
    # A saved prompt is the default of the new checkpoint.
    embedder.save_pretrained(tmp_path / "saved")
    saved = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    assert_same_rows(saved.encode(TEXTS), expected)
    assert_same_rows(SentenceEmbedder(tmp_path / "saved").fit_transform(TEXTS), expected)
    assert saved.prompts.items() >= PROMPTS.items()


@pytest.mark.parametrize("how", [{}, {"prompt": ""}, {"prompt_name": "query"}], ids=str)
def test_logits_equal_those_of_sentence_transformers(folders, how, tmp_path):
    reference = CrossEncoder(str(folders / "pairs"), device="cpu")
    scorer = CrossEncoderScorer(folders / "pairs", device="cpu", **how).fit(PAIRS)
    expected = reference.predict(PAIRS, **how)
    assert_same_rows(scorer.predict(PAIRS), expected)
    scorer.save_pretrained(tmp_path / "saved")
    saved = CrossEncoder(str(tmp_path / "saved"), device="cpu")
    assert_same_rows(saved.predict(PAIRS), expected)


def test_the_tokens_of_a_prompt_by_name_are_left_out_of_the_pooling(folders):
    named, literal, joined = (
        SentenceEmbedder(folders / "without", **how).fit_transform(texts)
        for how, texts in (
            ({"prompt_name": "query"}, TEXTS),
            ({"prompt": PROMPTS["query"]}, TEXTS),
            ({"prompt": ""}, [PROMPTS["query"] + text for text in TEXTS]),
        )
    )
    np.testing.assert_array_equal(named, literal)
    assert np.abs(named - joined).max() > 1e-3


# Nothing silent


@pytest.mark.parametrize("key", ESTIMATORS)
def test_an_unknown_name_is_an_error_that_lists_the_known_ones(fit, key):
    message = r"'qurey', but the checkpoint has the prompts \['bare', 'document', 'query', 'same'\]"
    with pytest.raises(ValueError, match=message):
        fit(key, prompt_name="qurey")


@pytest.mark.parametrize("key", ESTIMATORS)
def test_prompt_and_prompt_name_together_are_an_error(fit, key):
    message = "prompt='' and prompt_name='query' are both set"
    with pytest.raises(ValueError, match=message):
        fit(key, prompt="", prompt_name="query")


def test_a_checkpoint_without_prompts_says_so():
    message = r"but the checkpoint has no prompts\. Pass the text itself as prompt\."
    with pytest.raises(ValueError, match=message):
        SentenceEmbedder(NO_DROPOUT, prompt_name="query").fit(TEXTS)


@pytest.mark.parametrize("key", ESTIMATORS)
def test_a_literal_prompt_that_is_a_known_name_is_a_warning(fit, key):
    message = r"prompt='query' is literal .* has a prompt of that name, 'the pier: '.* prompt_name="
    with pytest.warns(UserWarning, match=message):
        fit(key, prompt="query")


@pytest.mark.parametrize(("prompt", "model"), [("qurey", "texts"), ("query", None)])
def test_a_word_that_no_prompt_is_called_is_a_warning(folders, prompt, model):
    message = f"prompt='{prompt}' is literal text.* its end is joined to the first word"
    with pytest.warns(UserWarning, match=message):
        SentenceEmbedder(folders / model if model else NO_DROPOUT, prompt=prompt).fit(TEXTS)


@pytest.mark.parametrize("prompt", ["", "query: ", "query:", "same", "為這個句子", None])
def test_an_ordinary_literal_prompt_does_not_warn(folders, prompt):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SentenceEmbedder(folders / "texts", prompt=prompt).fit(TEXTS)


def test_loaded_encoders_have_the_same_two_parameters(folders):
    encoder = load_encoder(folders / "texts")
    assert encoder.resolve_prompt(None, "query") == PROMPTS["query"]
    assert encoder.resolve_prompt("query") == "query"
    assert encoder.resolve_prompt() == PROMPTS["document"]
    assert encoder.encoding_params(prompt_name="query") == encoder.encoding_params(
        prompt=PROMPTS["query"]
    )
    with pytest.raises(ValueError, match="both set"):
        encoder.encode(TEXTS, prompt="a ", prompt_name="query")


def test_a_null_prompt_is_empty(tmp_path):
    make_checkpoint(tmp_path, prompts={"query": None})
    named = SentenceEmbedder(tmp_path, prompt_name="query").fit_transform(TEXTS)
    np.testing.assert_array_equal(named, SentenceEmbedder(tmp_path).fit_transform(TEXTS))


@pytest.mark.parametrize("key", ["embedder", "classifier", "scorer", "tuned scorer"])
def test_a_prompt_that_leaves_no_room_for_text_is_an_error_of_fit(fit, key):
    with pytest.raises(
        ValueError, match=r"leaves no room for text after \d special and \d+ prompt"
    ):
        fit(key, prompt="word " * 600)


# Wherever the parameter goes


@pytest.mark.parametrize("key", ESTIMATORS)
def test_a_name_gives_what_its_text_gives(fit, key):
    named, literal, default = (
        fit(key, **how) for how in ({"prompt_name": "query"}, {"prompt": PROMPTS["query"]}, {})
    )
    np.testing.assert_array_equal(outputs(named), outputs(literal))
    assert named.fingerprint_ == literal.fingerprint_
    assert np.abs(outputs(named) - outputs(default)).max() > 1e-6
    again = pickle.loads(pickle.dumps(named))
    assert again.get_params()["prompt_name"] == clone(named).prompt_name == "query"
    assert_same_rows(outputs(again), outputs(named))


@pytest.mark.parametrize("key", ["classifier", "regressor"])
def test_the_embedder_of_a_trained_estimator_has_the_name(fit, key):
    fitted = fit(key, prompt_name="query")
    assert fitted.embedder_.prompt_name == "query"
    default = SentenceEmbedder(fitted.encoder_).fit_transform(TEXTS)
    assert np.abs(fitted.embedder_.transform(TEXTS) - default).max() > 1e-6


@pytest.mark.filterwarnings("ignore::sk_sentemb.exceptions.NewHeadWarning")
def test_a_model_that_gets_a_new_head_keeps_the_names_of_its_prompts(folders):
    named, literal = (
        CrossEncoderScorer(folders / "texts", fine_tuner=TUNER, **how).fit(PAIRS, [0, 1, 0, 1])
        for how in ({"prompt_name": "query"}, {"prompt": PROMPTS["query"]})
    )
    np.testing.assert_array_equal(named.predict(PAIRS), literal.predict(PAIRS))


def test_prewarming_uses_the_name(folders):
    cache = MemoryCache()
    prewarm(SentenceEmbedder(folders / "texts", prompt_name="query", cache=cache), TEXTS)
    before = cache.statistics().misses
    literal = SentenceEmbedder(folders / "texts", prompt=PROMPTS["query"], cache=cache)
    literal.fit_transform(TEXTS)
    assert cache.statistics().misses == before


def test_workers_get_the_prompt_of_a_name(folders):
    embedder = SentenceEmbedder(folders / "texts", prompt_name="query", cache=None).fit(TEXTS)
    with joblib.parallel_config("threading", n_jobs=2):
        spread = embedder.transform(TEXTS)
    assert_same_rows(spread, embedder.transform(TEXTS))


def test_both_are_searched_over(folders):
    model = make_pipeline(SentenceEmbedder(folders / "texts"), LogisticRegression())
    grid = [
        {"sentenceembedder__prompt_name": [None, "query", np.str_("document")]},
        {"sentenceembedder__prompt": [np.str_(PROMPTS["query"]), ""]},
    ]
    searched = GridSearchCV(model, grid, cv=2, error_score="raise").fit(TEXTS, [0, 1, 0, 1])
    by_params = searched.cv_results_["mean_test_score"]
    assert by_params[1] == by_params[3]
    assert by_params[0] == by_params[2]
