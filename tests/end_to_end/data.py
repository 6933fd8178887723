"""Data and helpers of the tests in this folder."""

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from sklearn.base import is_classifier
from sklearn.model_selection import GridSearchCV, StratifiedKFold

from sk_sentemb import FineTuner, SentenceClassifier, SentenceRegressor, load_encoder
from sk_sentemb.end_to_end.fusion import FUSIONS
from tests.helpers.tiny_models import TINY

WORDS = ["ferry", "pier", "storm", "market", "nets", "harbour", "brothers", "bread"]
TEXTS = [
    f"the {a} and the {b} of day {i}"
    for i, (a, b) in enumerate(zip(WORDS * 3, WORDS[::-1] * 3, strict=True))
]
LABELS = np.array(["sea" if i % 2 else "land" for i in range(24)])
NUMBERS = np.linspace(-5, 40, 24)
SHOP = pd.DataFrame(
    {
        "review": TEXTS,
        "size": ["S", "M", "L"] * 8,
        "price": np.linspace(3, 9, 24).round(2),
        "bought": pd.date_range("2024-01-01", periods=24).strftime("%Y-%m-%d"),
        "order_id": np.arange(1000, 1024),
    }
)
SEVERAL = np.column_stack([np.arange(24) % 2, np.arange(24) % 3 == 0, np.zeros(24)]).astype(int)


def tuner(**how):
    how = {"epochs": 2, "batch_size": 8, "learning_rate": 1e-3, "random_state": 0, **how}
    return FineTuner(**how)


def classifier(model=TINY, *, how=None, **params):
    return SentenceClassifier(model, fine_tuner=tuner(**how or {}), **params)


def regressor(model=TINY, *, how=None, **params):
    return SentenceRegressor(model, fine_tuner=tuner(**how or {}), **params)


# The encoder stays as it is, so that only the head decides.
HEAD_ALONE = {"trainable": "head", "epochs": 40, "head_learning_rate": 0.05}
both = pytest.mark.parametrize(
    ("make", "y"), [(classifier, LABELS), (regressor, NUMBERS)], ids=["classifier", "regressor"]
)


def outputs(fitted, X):
    return fitted.decision_function(X) if is_classifier(fitted) else fitted.predict(X)


class TwoLayers(torch.nn.Module):
    def __init__(self, n_inputs, n_outputs, width=8):
        super().__init__()
        self.first = torch.nn.Linear(n_inputs, width)
        self.norm = torch.nn.BatchNorm1d(width)
        self.drop = torch.nn.Dropout(0.5)
        self.last = torch.nn.Linear(width, n_outputs)

    def forward(self, fused):
        return self.last(self.drop(self.norm(self.first(fused)).relu()))


def weights(fitted):
    """Return all that was learnt."""
    encoder = fitted.encoder_.backbone.model.state_dict()
    return {**encoder, **{f"head.{k}": v for k, v in fitted.head_.state_dict().items()}}


def changed(fitted, before=TINY):
    old = load_encoder(before).backbone.model.state_dict()
    now = fitted.encoder_.backbone.model.state_dict()
    return {name for name in old if not torch.equal(old[name], now[name])}


def assert_equal_weights(one, other):
    one, other = weights(one), weights(other)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def in_plain_torch(vectors_of, parameters, target, loss_of, *, n_out, n_in=32, epochs=2, norm=1.0):
    """The training loop that one writes by hand: its losses, and the layer that it trains."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = torch.nn.Linear(n_in, n_out)
    groups = [{"params": parameters, "lr": 1e-3}, {"params": layer.parameters(), "lr": 1e-2}]
    optimizer = torch.optim.AdamW([group for group in groups if group["params"]], weight_decay=0.0)
    scheduler = transformers.get_linear_schedule_with_warmup(optimizer, 1, 3 * epochs)
    losses = []
    for epoch in range(epochs):
        draw = np.random.default_rng([0, epoch])
        for rows in np.split(draw.permutation(24), 3):
            optimizer.zero_grad()
            loss = loss_of(layer(vectors_of(rows)), target[rows])
            loss.backward()
            torch.nn.utils.clip_grad_norm_([*parameters, *layer.parameters()], norm)
            optimizer.step()
            scheduler.step()
            losses.append(loss.item())
    return losses, layer


X = np.array([f"{text} {'and again ' * (i % 5)}" for i, text in enumerate(TEXTS)], dtype=object)
GRID = {"fusion": list(FUSIONS), "hidden_layer_sizes": [(), (8,)]}


def search(made, **how):
    folds = StratifiedKFold(2, shuffle=True, random_state=0)
    return GridSearchCV(made, GRID, cv=folds, scoring="neg_log_loss", error_score="raise", **how)
