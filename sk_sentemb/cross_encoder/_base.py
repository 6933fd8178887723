"""What estimators share that hold a model of pairs of texts: columns in, logits out."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from sklearn.utils import Tags
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import _check_feature_names, check_consistent_length

from .._base import BaseTextEstimator
from .._inputs import TextColumns, check_no_missing, make_pairs, read_text_columns, unique_texts
from .._random import draw_seed, torch_seed
from .._truncation import count_truncated
from .._warn import warn
from ..encoder import Encoder, SequenceHead
from ..exceptions import NewHeadWarning, NoHeadError


class BaseCrossEncoder(BaseTextEstimator):
    """An estimator around a cross-encoder."""

    symmetric: bool

    _long_text_policies = ("truncate", "error")
    _progress_label = "scoring"
    _input_noun = "pair"

    _parameter_constraints: ClassVar[dict[str, list]] = {
        **BaseTextEstimator._parameter_constraints,
        "long_text": [StrOptions(set(_long_text_policies))],
        "symmetric": ["boolean"],
    }

    def _validate_input(self, X: Any, *, reset: bool, triplets: bool = False) -> TextColumns:
        if isinstance(X, str):
            raise ValueError(
                f"X is the single string {X[:40]!r}. Pass pairs: a data frame of two columns, an array "
                "of shape (n, 2), or a list of (first, second)."
            )
        columns = read_text_columns(X)
        n_rows, n_columns = columns.n_rows, columns.n_columns
        if reset and not n_rows:
            raise ValueError(
                "Found array with 0 sample(s) while a minimum of 1 is required by fit."
            )
        if not n_rows and n_columns == 1:  # [], which has no columns to count
            return TextColumns([[], []], np.zeros((0, 2), dtype=bool), None)
        if reset and not (n_columns == 2 or (triplets and n_columns == 3)):
            raise ValueError(
                f"X has {n_columns} column{'s' * (n_columns > 1)} of text, and a pair has two. Pass a "
                "data frame of two columns, an array of shape (n, 2), or a list of (first, second)."
            )
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

    def _pretrained(self) -> Encoder:
        """Load a model that has a head."""
        try:
            encoder = self._load(pairs=True)
        except NoHeadError as error:
            raise NoHeadError(f"{error} {_NO_HEAD}") from None
        if encoder.head is None:
            raise NoHeadError(f"{encoder!r} embeds single texts. {_NO_HEAD}")
        # Raises if special tokens and prompt leave no room for text.
        encoder.tokenizer(
            [("", "")],
            prompt=encoder.resolve_prompt(self.prompt, self.prompt_name),
            max_length=encoder.resolve_max_length(self.max_length),
            long_text="truncate",
        )
        return encoder

    def _to_be_tuned(self, n_logits: int, fits: Callable[[SequenceHead], bool]) -> Encoder:
        """Load a model, and give it a new head with so many logits if its own does not fit."""
        assert self.fine_tuner is not None
        try:
            encoder = self._load(pairs=True)
        except NoHeadError:
            encoder = self._load()
        if encoder.head is not None and fits(encoder.head):
            return encoder
        has = "no head that reads pairs" if encoder.head is None else "a head for something else"
        name = encoder.source.model if encoder.source else "that was passed"
        warn(
            f"the model {name} has {has}: it gets one with random weights, which the fine_tuner "
            "trains.",
            NewHeadWarning,
        )
        seed = draw_seed(self.fine_tuner.random_state)
        with torch_seed(seed):  # trainings in other threads wait for their turn
            return encoder.with_new_head(n_logits, seed)

    def _logits(
        self, columns: TextColumns, context: Any = None, place: Callable[[int], str] | None = None
    ) -> np.ndarray:
        """Return (n_rows, n_logits), NaN where a text is missing and that is the policy."""
        self._check_missing(columns)
        pairs = make_pairs(columns, symmetric=self.symmetric)
        distinct = unique_texts(pairs, missing_is_empty=self.missing == "empty")
        found = self._encode(distinct, context, place)
        # Of both orders of a pair, as long as each other, the first.
        self._warn_truncated(
            count_truncated(distinct.inverse[:1], found.truncated),
            "Pass a model with a larger limit, or shorten the texts.",
        )
        logits = distinct.expand(found.vectors, fill=np.nan)
        n_orders, n_rows = distinct.inverse.shape
        return logits.reshape(n_rows, n_orders, found.vectors.shape[1]).mean(axis=1)

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


_NO_HEAD = (
    "Pass a cross-encoder, such as 'cross-encoder/ms-marco-MiniLM-L6-v2', or a FineTuner as "
    "fine_tuner, which trains a new head."
)
