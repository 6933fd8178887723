"""What SentenceClassifier and SentenceRegressor share: an encoder and a head, trained together."""

import os
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import narwhals.stable.v2 as nw
import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
)

from .._base import BaseTextEstimator
from .._inputs import TextColumns, read_text_columns, unique_texts, validate_feature_names
from .._training import FineTuner, RawTrainingData, end_to_end_task
from .._truncation import count_truncated
from .._warn import warn
from ..embedder import SentenceEmbedder
from ..encoder import isolated
from ..exceptions import IgnoredParameterWarning
from ..losses import DataFormat
from .fusion import ACTIVATIONS, FUSIONS, Head, HeadSpec
from .head_loss import HeadLoss
from .head_state import assemble_head, dismantle_head
from .table_reader import ROLES, TableReader, names_of

# What an embedder of the tuned encoder has from its estimator.
_OF_EMBEDDER = (
    "prompt",
    "prompt_name",
    "max_length",
    "long_text",
    "missing",
    "batch_tokens",
    "cache",
    "n_jobs",
    "store_weights_in_pickle",
)

# The parameters of a head that is not the user's, and their defaults.
_OF_OWN_HEAD: dict[str, Any] = {"hidden_layer_sizes": (), "activation": "relu", "dropout": 0.1}

# Rows that go through the head at once.
_ROWS_AT_ONCE = 4096


class BaseEndToEndModel(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseTextEstimator):
    """An estimator with an encoder of texts and a head over them and the rest of a row."""

    hidden_layer_sizes: Sequence[int]
    activation: str
    dropout: float
    head: Callable[[int, int], torch.nn.Module] | None
    fusion: str
    image_embedder: Any
    head_: Head
    _rows: TableReader
    _reading: dict[str, str]
    _spec: HeadSpec

    _missing_policies = ("empty", "error")
    _long_text_policies = ("chunk", "truncate", "error")

    _parameter_constraints: ClassVar[dict[str, list]] = {
        **BaseTextEstimator._parameter_constraints,
        "hidden_layer_sizes": ["array-like"],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "head": [callable, None],
        "fusion": [StrOptions(set(FUSIONS))],
        **{role: [str, list, tuple] for role in ROLES},
        "image_embedder": [HasMethods(["fit", "transform"]), None],
        "missing": [StrOptions(set(_missing_policies))],
        "long_text": [StrOptions(set(_long_text_policies))],
    }

    @property
    def embedder_(self) -> SentenceEmbedder:
        """The tuned encoder as an embedder of texts, for other pipelines."""
        check_is_fitted(self)
        shared = {name: getattr(self, name) for name in _OF_EMBEDDER}
        return SentenceEmbedder(self.encoder_, **shared).fit([""])

    def transform(self, X: Any) -> np.ndarray:
        """Return what the head makes of the parts of each row before it decides.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples,) or (n_samples, n_columns)
            Rows as in ``fit``.

        Returns
        -------
        ndarray of shape (n_samples, n_fused), float32
            The fused representation.
        """
        check_is_fitted(self)
        return self._through_head(X, self.head_.fuse)

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        context: Any,
        *,
        shape: DataFormat,
        error: str,
        classes: np.ndarray | None = None,
    ) -> None:
        """Train encoder and head; ``y`` is checked, and as the head shall learn it."""
        go_on = self._is_warm_start()
        # As text, since an embedder of images can be changed in place.
        reading = {name: str(getattr(self, name)) for name in (*ROLES, "image_embedder")}
        if go_on and (
            changed := [name for name in reading if reading[name] != self._reading[name]]
        ):
            raise ValueError(
                f"with warm_start, X is read as in the last fit, where {changed[0]} was "
                f"{self._reading[changed[0]]}, and now it is {reading[changed[0]]}. Pass what it was, "
                "or warm_start=False."
            )
        if not go_on:
            if not len(y):
                raise ValueError(
                    "Found array with 0 sample(s) while a minimum of 1 is required by fit."
                )
            roles = {role: getattr(self, role) for role in ROLES}
            self._rows = TableReader.learn(X, images=self.image_embedder, **roles)
            self._reading = reading
        columns, features = self._validate_input(X, reset=not go_on)
        check_consistent_length(columns.missing, y)
        data = RawTrainingData(
            columns,
            y,
            self._validate_sample_weight(sample_weight, columns),
            classes=classes,
            features=features,
            held_out=self._held_out(),
        )
        spec = self._head_spec(columns.n_columns)
        if go_on and spec != self._spec:
            raise ValueError(
                f"with warm_start, the head goes on as it is, {self._spec}, and cannot become {spec}. "
                "Pass the parameters of the last fit, or warm_start=False."
            )
        self._spec = spec
        loss = HeadLoss(spec, error, begun=self.head_ if go_on else None)
        encoder = self._warm_encoder() if go_on else self._load()
        self.__dict__.pop("history_", None)
        tuned = self._fine_tune(
            encoder, data, end_to_end_task(loss, shape), self._training_callback(context, X, y)
        )
        self._set_head(tuned.head)
        self._set_encoder(tuned.encoder)

    def _head_spec(self, n_texts: int) -> HeadSpec:
        """Check the parameters of the head, and put them together."""
        sizes = tuple(self.hidden_layer_sizes)
        if not all(isinstance(size, Integral) and size > 0 for size in sizes):
            raise ValueError(
                f"hidden_layer_sizes={self.hidden_layer_sizes!r}: pass whole numbers above 0."
            )
        if self.head is not None:
            given: dict[str, Any] = {
                "hidden_layer_sizes": sizes,
                "activation": self.activation,
                "dropout": self.dropout,
            }
            if ignored := [name for name, value in given.items() if value != _OF_OWN_HEAD[name]]:
                warn(
                    f"{' and '.join(ignored)} have no effect with a head of your own; build them into "
                    "it.",
                    IgnoredParameterWarning,
                )
        return HeadSpec(
            n_texts,
            self._rows.sizes,
            self.fusion,
            sizes,
            self.activation,
            self.dropout,
            self.head,
        )

    @property
    def _effective_fine_tuner(self) -> FineTuner:
        return FineTuner() if self.fine_tuner is None else self.fine_tuner

    def _set_head(self, head: torch.nn.Module | None) -> None:
        assert isinstance(head, Head)
        self.head_ = head

    def _held_out(self) -> RawTrainingData | None:
        given = self._effective_fine_tuner.validation_data
        if given is None:
            return None
        if len(given) != 2:
            raise ValueError(f"validation_data has {len(given)} items; pass (X, y).")
        if given[1] is None:
            raise ValueError("the y of validation_data is None; pass that of its rows.")
        columns, features = self._validate_input(given[0], reset=False)
        self._check_missing(columns)
        check_consistent_length(columns.missing, given[1])
        return RawTrainingData(columns, self._encoded_target(given[1]), features=features)

    def _encoded_target(self, y: Any) -> Any:
        """Return other targets as those that the head learns."""
        raise NotImplementedError

    def _validate_input(self, X: Any, *, reset: bool) -> tuple[TextColumns, np.ndarray]:
        X = nw.to_native(X, pass_through=True)
        names = names_of(X)
        if names is None:
            columns = read_text_columns(X)
            n_columns = columns.n_columns
            one_dimensional = n_columns == 1 and getattr(X, "ndim", 1) == 1
        else:
            n_columns, one_dimensional = len(names), False
        validate_feature_names(self, X, n_columns, reset=reset, one_dimensional=one_dimensional)
        if names is not None:
            columns = self._rows.texts(X)
        elif not self._rows.is_of_texts(n_columns):
            raise ValueError(
                f"X has no column names, and {type(self).__name__} was fitted on a data frame with "
                "columns of several roles: pass one with the same columns."
            )
        return columns, self._rows.features(X, columns.missing)

    def _outputs(self, X: Any) -> np.ndarray:
        """Return (n_rows, n_outputs), float32."""
        check_is_fitted(self)
        return self._through_head(X, self.head_)

    def _through_head(self, X: Any, function: Callable[..., torch.Tensor]) -> np.ndarray:
        columns, features = self._validate_input(X, reset=False)
        self._check_missing(columns)
        distinct = unique_texts(columns, missing_is_empty=True)
        found = self._encode(distinct)
        self._warn_truncated(
            count_truncated(distinct.inverse, found.truncated),
            "Pass long_text='chunk' to use whole texts, or a model with a larger limit.",
        )
        return _run_head(function, found.vectors, distinct.inverse, features, self.encoder_.device)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write the encoder as a folder that sentence-transformers and this class load.

        The head and the reading of tables are not part of that format: a pickle has all of them.

        Parameters
        ----------
        folder : str or path-like
            A new folder, or one with a checkpoint. Its files are replaced; files that no earlier save
            of this package wrote stay, such as a README.

        Raises
        ------
        FileExistsError
            If the folder holds no checkpoint but something else, or files of another program that
            would be read as part of the saved model.
        """
        super().save_pretrained(folder)

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        if "head_" in state:
            state["head_"] = dismantle_head(state["head_"])
        for name in ("_spec", "_rows"):
            if name in state:
                state[name] = dict(vars(state[name]))
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for name, kind in (("_spec", HeadSpec), ("_rows", TableReader)):
            if name in state:
                setattr(self, name, kind(**state[name]))
        if self._is_fitted():
            head = assemble_head(state["head_"], self._spec, self.encoder_.embedding_dim)
            self.head_ = head.to(self.encoder_.device)

    @property
    def _n_features_out(self) -> int:
        return int(self.head_.fusion.out_dim)  # type: ignore[arg-type]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = True
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = []
        return tags


@isolated
@torch.inference_mode()
def _run_head(
    function: Callable[..., torch.Tensor],
    embeddings: np.ndarray,
    which: np.ndarray,
    features: np.ndarray,
    device: torch.device,
) -> np.ndarray:
    """Apply a head to the embeddings that each row has, and to its features."""
    on_device = torch.from_numpy(embeddings).to(device)
    done = []
    for start in range(0, max(1, len(features)), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        texts = torch.from_numpy(which[:, rows]).to(device)
        others = torch.from_numpy(features[rows]).to(device)
        done.append(function([on_device[column] for column in texts], others).cpu().numpy())
    return np.concatenate(done)
