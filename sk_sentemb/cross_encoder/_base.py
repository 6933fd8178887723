"""The base class of estimators around a cross-encoder."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from sklearn.utils import Tags
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import _check_feature_names, check_consistent_length

from .._base import BaseTextEstimator
from .._inputs import TextColumns, check_no_missing, read_text_columns, unique_texts
from .._random import draw_seed, torch_seed
from .._warn import warn
from ..encoder import PairEncoder, SequenceHead
from ..exceptions import NewHeadWarning, NoHeadError


class BaseCrossEncoder(BaseTextEstimator):
    """An estimator around a cross-encoder: text pairs in, logits out."""

    encoder_: PairEncoder
    symmetric: bool

    _long_text_policies = ("truncate", "error")
    _progress_label = "scoring"
    _input_noun = "pair"

    _parameter_constraints: ClassVar[dict[str, list]] = {
        **BaseTextEstimator._parameter_constraints,
        "long_text": [StrOptions(set(_long_text_policies))],
        "symmetric": ["boolean"],
    }

    def _validate_input(self, X: Any, *, reset: bool) -> TextColumns:
        """Read text columns: pairs, but in `fit` any number, which `check_n_columns` checks."""
        if isinstance(X, str):
            raise ValueError(f"X is the single string {X[:40]!r}. {_HOW_TO_PASS_PAIRS}")
        columns = read_text_columns(X)
        n_rows, n_columns = columns.n_rows, columns.n_columns
        if reset and not n_rows:
            raise ValueError(
                "Found array with 0 sample(s) while a minimum of 1 is required by fit."
            )
        if not n_rows and n_columns == 1:  # [], which has no columns to count
            return TextColumns([[], []], np.zeros((0, 2), dtype=bool))
        if n_columns != 2 and not reset:
            raise ValueError(
                f"X has {n_columns} features, but {type(self).__name__} is expecting 2 features as "
                "input: the two texts of a pair. Reshape your data: one row for each pair."
            )
        if reset:
            self.n_features_in_ = 2
        if n_columns == 2:
            _check_feature_names(self, X, reset=reset)
        elif reset:
            self.__dict__.pop("feature_names_in_", None)  # of an earlier fit
        return columns

    def _load_with_head(self) -> PairEncoder:
        """Load a model that has a classification head."""
        try:
            encoder = self._load(pairs=True)
        except NoHeadError as error:
            raise NoHeadError(f"{error} {_HOW_TO_GET_A_HEAD}") from None
        if not isinstance(encoder, PairEncoder):
            raise NoHeadError(f"{encoder!r} embeds single texts. {_HOW_TO_GET_A_HEAD}")
        # Raises if special tokens and prompt leave no room for text.
        encoder.tokenizer(
            [("", "")],
            prompt=encoder.resolve_prompt(self.prompt, self.prompt_name),
            max_length=encoder.resolve_max_length(self.max_length),
            long_text="truncate",
        )
        return encoder

    def _load_for_training(
        self, n_logits: int, is_compatible: Callable[[SequenceHead], bool]
    ) -> PairEncoder:
        """Load a model, with a newly initialized head unless its own is compatible."""
        assert self.fine_tuner is not None
        try:
            encoder = self._load(pairs=True)
        except NoHeadError:
            encoder = self._load()
        is_pair_encoder = isinstance(encoder, PairEncoder)
        if is_pair_encoder and is_compatible(encoder.head):
            return encoder
        warn(
            f"The model {encoder.source.model if encoder.source else 'that was passed'} has "
            f"{'a head for another task' if is_pair_encoder else 'no classification head'}. A new "
            "head is initialized with random weights and trained by the fine_tuner.",
            NewHeadWarning,
        )
        seed = draw_seed(self.fine_tuner.random_state)
        with torch_seed(seed):  # trainings in other threads wait for their turn
            return PairEncoder.with_new_head(encoder, n_logits, seed)

    def _encode_pairs(
        self,
        pairs: TextColumns,
        describe_row: Callable[[int], str] | None = None,
        context: Any = None,
    ) -> np.ndarray:
        """Compute logits of shape (n_rows, n_orders, n_logits), NaN for missing pairs."""
        unique = unique_texts(pairs, missing_is_empty=self.missing == "empty")
        encoded = self._encode(unique, context, describe_row)
        # Both orders of a pair have the same length, so only the first is counted.
        self._warn_truncated(
            *replace(unique, inverse=unique.inverse[:1]).count_truncated(encoded.truncated),
            "Pass a model with a larger limit, or shorten the texts.",
        )
        n_orders, n_rows = unique.inverse.shape
        logits = unique.expand(encoded.vectors, fill=np.nan)
        return logits.reshape(n_rows, n_orders, encoded.vectors.shape[1])

    def _check_y(self, y: Any, columns: TextColumns) -> None:
        check_consistent_length(columns.missing, y)
        check_no_missing(y)

    def _describe_row(self, row: int, column: int) -> str:
        del column
        return f"the pair in row {row}"

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = True
        tags.input_tags.allow_nan = self.missing != "error"
        return tags


def check_n_columns(columns: TextColumns, *, allow_triplets: bool = False) -> None:
    """Raise unless X has pairs or, where these are allowed, triplets (query, positive, negative)."""
    n_columns = columns.n_columns
    if n_columns != 2 and not (allow_triplets and n_columns == 3):
        raise ValueError(
            f"X has {n_columns} text column{'s' * (n_columns > 1)}, but a pair has two. "
            f"{_HOW_TO_PASS_PAIRS}"
        )


def average_orders(logits: np.ndarray) -> np.ndarray:
    """Average the logits over the orders in which each pair was encoded, one or both."""
    return logits.mean(axis=1)


_HOW_TO_PASS_PAIRS = (
    "Pass a data frame of two columns, an array of shape (n, 2), or a list of (first, second)."
)
_HOW_TO_GET_A_HEAD = (
    "Pass a cross-encoder, such as 'cross-encoder/ms-marco-MiniLM-L6-v2', or a FineTuner as "
    "fine_tuner, which trains a new head."
)
