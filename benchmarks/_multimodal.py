"""The models of `multimodal.py`, and two training loops."""

from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from sklearn.base import BaseEstimator
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.pipeline import FeatureUnion, make_pipeline, make_union
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from skrub import StringEncoder, TableVectorizer, TextEncoder
from torch import nn
from transformers import AutoModel, AutoTokenizer, get_scheduler

from sk_sentemb import FineTuner, SentenceClassifier, SentenceEmbedder
from sk_sentemb.encoder import resolve_model
from sk_sentemb.preprocessing import TextCleaner, make_multimodal_transformer

TEXTS = ["Title", "Review Text"]
NUMBERS = ["Age", "Positive Feedback Count"]
CATEGORIES = ["Division Name", "Department Name", "Class Name"]
CLOTHING = TEXTS + NUMBERS + CATEGORIES

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
BATCH, RATE = 32, 5e-5


def joined(X: pd.DataFrame) -> pd.Series:
    """Concatenate title and text."""
    return X["Title"].fillna("") + ". " + X["Review Text"].fillna("")


def tf_idf() -> BaseEstimator:
    """Return TF-IDF of words and word pairs in title and text."""
    counts = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    return make_pipeline(FunctionTransformer(joined), counts)


def meaning_and_words() -> BaseEstimator:
    """Return embeddings and TF-IDF of a text column."""
    counts = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    return FeatureUnion(
        [
            ("meaning", SentenceEmbedder(missing="empty")),
            ("words", make_pipeline(TextCleaner(missing="empty"), counts)),
        ],
        transformer_weights={"meaning": 0.5},
    )


def table() -> BaseEstimator:
    """Return the columns that are not text."""
    return make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), NUMBERS),
        (OneHotEncoder(handle_unknown="ignore", min_frequency=5), CATEGORIES),
    )


def baselines() -> dict[str, BaseEstimator]:
    """Return the baselines of scikit-learn."""
    return {
        "table": make_pipeline(table(), LogisticRegression(max_iter=2000)),
        "table, gradient boosting": make_pipeline(
            make_column_transformer(
                ("passthrough", NUMBERS),
                (OneHotEncoder(handle_unknown="ignore", sparse_output=False), CATEGORIES),
            ),
            HistGradientBoostingClassifier(random_state=0),
        ),
        "TF-IDF": make_pipeline(tf_idf(), LogisticRegression(C=10, max_iter=2000)),
        "TF-IDF and table": make_pipeline(
            make_union(tf_idf(), table()), LogisticRegression(C=10, max_iter=2000)
        ),
    }


def peers() -> dict[str, BaseEstimator]:
    """Return TableVectorizer of skrub with its text encoders."""
    encoders = {
        "StringEncoder": StringEncoder(random_state=0),
        "TextEncoder": TextEncoder(model_name=str(resolve_model(MODEL)), device="cpu"),
    }
    return {
        f"skrub, {name}": make_pipeline(
            TableVectorizer(high_cardinality=encoder),
            SimpleImputer(),
            StandardScaler(),
            # What suits one encoder does not suit the other: each gets its best in folds of its own.
            LogisticRegressionCV(Cs=[1e-3, 1e-2, 1e-1, 1], scoring="roc_auc", max_iter=2000),
        )
        for name, encoder in encoders.items()
    }


def ours(X: pd.DataFrame, *, end_to_end: bool) -> dict[str, BaseEstimator]:
    """Return this package's models."""
    text = make_column_transformer((SentenceEmbedder(missing="empty"), TEXTS))
    models: dict[str, BaseEstimator] = {
        "sk_sentemb, text": make_pipeline(text, LogisticRegression(C=10, max_iter=2000)),
        "sk_sentemb, text and table": make_pipeline(
            make_multimodal_transformer(X, text=TEXTS),
            LogisticRegression(max_iter=2000),
        ),
        "sk_sentemb, text and TF-IDF": make_pipeline(
            make_multimodal_transformer(text=TEXTS, embedder=meaning_and_words()),
            LogisticRegression(C=3, max_iter=3000),
        ),
        "sk_sentemb, frozen, head": SentenceClassifier(
            fine_tuner=FineTuner(trainable="head"), text=TEXTS
        ),
    }
    if end_to_end:
        tuner = FineTuner(epochs=4, dtype="auto", random_state=0)
        models["sk_sentemb, end to end"] = SentenceClassifier(fine_tuner=tuner, text=TEXTS)
    return models


def train_here(texts: list[str], labels: np.ndarray, n_steps: int) -> list[float]:
    """Train with this package, and return the seconds of each step."""
    tuner = FineTuner(
        epochs=1, max_steps=n_steps, batch_size=BATCH, learning_rate=RATE, random_state=0
    )
    model = SentenceClassifier(MODEL, device="cpu", fine_tuner=tuner).fit(texts, labels)
    return model.history_["seconds"].tolist()


def train_there(texts: list[str], labels: np.ndarray, n_steps: int) -> list[float]:
    """Train with a plain loop over padded batches, and return the seconds of each step."""
    folder = resolve_model(MODEL)
    torch.manual_seed(0)
    tokenizer, encoder = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    classes, codes = np.unique(labels, return_inverse=True)
    head = nn.Linear(encoder.config.hidden_size, len(classes))
    weights = [*encoder.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=RATE, weight_decay=0.0)
    schedule = get_scheduler("linear", optimizer, n_steps // 10, n_steps)
    order = np.random.default_rng(0).permutation(len(texts))
    encoder.train()
    times = []
    for start in range(0, BATCH * n_steps, BATCH):
        rows = order[start : start + BATCH]
        begun = perf_counter()
        _step(encoder, head, tokenizer([texts[i] for i in rows], **_PADDED), codes[rows])
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        times.append(perf_counter() - begun)
    return times


_PADDED: dict[str, Any] = {
    "padding": True,
    "truncation": True,
    "max_length": 256,
    "return_tensors": "pt",
}


def _step(encoder: Any, head: nn.Module, inputs: Any, codes: np.ndarray) -> None:
    """Compute the gradients of a batch: mean pooling, unit norm, linear head."""
    states = encoder(**inputs).last_hidden_state
    mask = inputs["attention_mask"][:, :, None]
    vectors = F.normalize((states * mask).sum(dim=1) / mask.sum(dim=1), dim=1)
    F.cross_entropy(head(vectors), torch.from_numpy(codes)).backward()
