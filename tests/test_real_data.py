import os
from pathlib import Path

import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sk_sentemb import PairSimilarity, SentenceEmbedder
from sk_sentemb.encoder import resolve_model
from sk_sentemb.exceptions import ModelNotFoundError

_BESIDE_THE_REPOSITORY = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="module")
def data():
    folder = Path(os.environ.get("SK_SENTEMB_DATA", _BESIDE_THE_REPOSITORY))
    if not folder.is_dir():
        pytest.skip(f"no data in {folder}; SK_SENTEMB_DATA names the folder")
    return folder


@pytest.fixture(scope="module")
def embedder():
    embedder = SentenceEmbedder()
    try:
        resolve_model(embedder.model)
    except ModelNotFoundError as error:
        pytest.skip(f"{error}")
    return embedder


@pytest.fixture
def banking77(data):
    return [pd.read_csv(data / "banking77" / f"{part}.csv") for part in ("train", "test")]


def accuracy(embedder, train, test):
    classifier = make_pipeline(embedder, LogisticRegression(C=10, max_iter=1000))
    return classifier.fit(train["text"], train["category"]).score(test["text"], test["category"])


def test_sts_benchmark_has_the_published_score(data, embedder):
    names = ["left", "right", "similarity"]
    pairs = pd.read_csv(data / "stsb" / "stsb-en-test.csv", names=names)
    texts = pairs[["left", "right"]]
    cosines = make_pipeline(embedder, PairSimilarity()).fit(texts).predict(texts)
    assert spearmanr(cosines, pairs["similarity"]).statistic == pytest.approx(0.8203, abs=0.0005)


def test_a_few_texts_of_banking77_tell_intents_apart(banking77, embedder):
    intents = sorted(banking77[0]["category"].unique())[::8]
    train, test = (
        part[part["category"].isin(intents)].groupby("category").head(n)
        for part, n in zip(banking77, (10, 20), strict=True)
    )
    assert (len(intents), len(train), len(test)) == (10, 100, 200)
    # Guessing gets 0.1 of ten intents of equal size.
    assert accuracy(embedder, train, test) >= 0.92


@pytest.mark.slow
def test_banking77_has_the_reference_accuracy(banking77, embedder):
    assert accuracy(embedder, *banking77) >= 0.929
