"""The rows of `defaults.py`."""

from typing import Any

import numpy as np
import pandas as pd
from _common import data_file
from _docstrings import load_docstrings

N_TEST = 400

# Training and test rows: X, y, X_test, y_test.
Split = tuple[Any, np.ndarray, Any, np.ndarray]


def draw_rows(frame: pd.DataFrame, columns: Any, target: str, n_rows: int, rng: Any) -> Split:
    """Draw random rows, at least two per class."""
    frame = frame.iloc[rng.permutation(len(frame))]
    test, rest = frame[:N_TEST], frame[N_TEST:]
    first = rest.groupby(target).head(2) if frame[target].dtype.kind not in "f" else rest[:0]
    train = pd.concat([first, rest.drop(first.index)])[:n_rows]
    return train[columns], train[target].to_numpy(), test[columns], test[target].to_numpy()


def draw_equal(frame: pd.DataFrame, target: str, n_rows: int, rng: Any) -> Split:
    """Draw the same number of rows per class, and random test rows."""
    frame = frame.iloc[rng.permutation(len(frame))]
    train = frame.groupby(target).head(n_rows // frame[target].nunique())
    test = frame.drop(train.index)[:N_TEST]
    return tuple(part[name].to_numpy() for part in (train, test) for name in ("text", target))  # type: ignore[return-value]


def banking(n_rows: int, rng: Any) -> Split:
    """Return questions with all intents, the same number each."""
    frame = pd.read_csv(data_file("banking77/train.csv"))
    return draw_equal(frame, "category", n_rows, rng)


def packages(n_rows: int, rng: Any) -> Split:
    """Return docstrings of four packages, the same number each."""
    frame = load_docstrings()
    return draw_equal(frame[frame["target"] != 2], "target", n_rows, rng)


def kinds(n_rows: int, rng: Any) -> Split:
    """Return docstrings of functions, methods and classes."""
    return draw_rows(load_docstrings(), "text", "kind", n_rows, rng)


def reviews() -> pd.DataFrame:
    """Return reviews with a text."""
    frame = pd.read_csv(data_file("clothing/reviews.csv")).dropna(subset=["Review Text"])
    return frame.rename(columns={"Review Text": "text"})


def garments(n_rows: int, rng: Any) -> Split:
    """Return reviews of the four most frequent classes of garments, the same number each."""
    frame = reviews()
    most = frame["Class Name"].value_counts().index[:4]
    return draw_equal(frame[frame["Class Name"].isin(most)], "Class Name", n_rows, rng)


def ratings(n_rows: int, rng: Any) -> Split:
    """Return reviews with a table, and their number of stars."""
    frame = reviews().astype({"Rating": float})
    columns = ["Title", "text", "Age", "Positive Feedback Count", "Department Name"]
    return draw_rows(frame, columns, "Rating", n_rows, rng)


def sentence_pairs(name: str, n_rows: int, rng: Any) -> Split:
    """Return pairs of sentences and how similar they are, from 0 to 1."""
    if name == "sick":
        train, test = (
            pd.read_csv(data_file(f"sick/SICK_{part}.txt"), sep="\t") for part in ("train", "trial")
        )
        columns, target = ["sentence_A", "sentence_B"], "relatedness_score"
        low, high = 1.0, 5.0
    else:
        train, test = (
            pd.read_csv(
                data_file(f"stsb/stsb-en-{part}.csv"), header=None, names=["a", "b", "score"]
            )
            for part in ("train", "test")
        )
        columns, target, low, high = ["a", "b"], "score", 0.0, 5.0
    train = train.iloc[rng.permutation(len(train))[:n_rows]]
    return tuple(  # type: ignore[return-value]
        value
        for part in (train, test)
        for value in (
            part[columns].to_numpy(object),
            ((part[target] - low) / (high - low)).to_numpy(),
        )
    )
