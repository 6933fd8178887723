"""`SentenceRegressor`: encoder and head of a regressor, trained together."""

from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Tags, check_array
from sklearn.utils.validation import check_is_fitted

from .._atomic_fit import atomic_fit
from .._docstrings import substitute_docstring
from .._inputs import check_no_missing, check_sample_weight
from .._progress import fit_task, with_callbacks
from ..losses import DataFormat
from ._base import BaseEndToEndModel


@substitute_docstring
class SentenceRegressor(RegressorMixin, BaseEndToEndModel):
    """Regressor for text and mixed-type tables, trained end to end.

    An encoder embeds the texts of a row. A head over the embeddings, the numbers, categories and dates
    and the images of the row outputs one number or several. Encoder and head are trained together.

    Parameters
    ----------
    model : str, path-like or Encoder, default="sentence-transformers/all-MiniLM-L6-v2"
        {model_of_texts}
    {revision}
    {head_and_fusion}
    {columns}
    {prompt}
    {prompt_name}
    {max_length}
    {long_text_of_rows}
    {missing_of_rows}
    {dtype}
    {device}
    {batch_tokens}
    {cache}
    {n_jobs}
    {fine_tuner_of_rows}
    {warm_start_of_rows}
    {store_weights_in_pickle}
    {verbose}

    Attributes
    ----------
    {attributes_of_rows}
    {feature_names_in_}

    See Also
    --------
    SentenceClassifier : Classifier for text and mixed-type tables.
    SentenceEmbedder : Embeddings for any regressor.

    References
    ----------
    .. [1] J. Arevalo et al., "Gated Multimodal Units for Information Fusion", 2017,
       https://arxiv.org/abs/1702.01992

    Examples
    --------
    >>> from sk_sentemb import FineTuner, SentenceRegressor
    >>> X = ["Fits well.", "Too tight!", "I love it.", "It fell apart."] * 4
    >>> y = [4.0, 2.0, 5.0, 1.0] * 4
    >>> tuner = FineTuner(epochs=10, batch_size=8, random_state=0)
    >>> regressor = SentenceRegressor(fine_tuner=tuner).fit(X, y)
    >>> regressor.predict(["I love it."]).shape
    (1,)
    """

    @substitute_docstring
    @_fit_context(prefer_skip_nested_validation=True)
    @atomic_fit
    @with_callbacks
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train encoder and head.

        Parameters
        ----------
        {X_of_rows}
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Target numbers.
        {sample_weight}

        Returns
        -------
        SentenceRegressor
            The fitted regressor.

        Raises
        ------
        ValueError
            If ``X`` has no text column, or ``y`` does not consist of finite numbers.
        """
        if y is None:
            raise ValueError("SentenceRegressor requires y to be passed, but the target y is None.")
        target = _validate_numbers(y)
        self._fit_scaler(target, sample_weight)
        with fit_task(self, "fit", X, y, max_subtasks=self._n_epochs) as context:
            self._fit(
                X,
                self._encode_target(target),
                sample_weight,
                context,
                data_format=DataFormat.ROW_VALUES,
                error="squared_error",
            )
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predict the numbers of each row.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples,) or (n_samples, n_columns)
            The same columns as in ``fit``.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs), float64
            The predictions, in the units of ``y``.
        """
        check_is_fitted(self)
        outputs = self._compute_outputs(X, self.head_).astype(np.float64)
        if len(outputs):
            outputs = self._scaler.inverse_transform(outputs)
        return outputs[:, 0] if self._is_flat else outputs

    def _fit_scaler(self, target: np.ndarray, sample_weight: Any) -> None:
        """Fit the scaler of `y`, since the head is trained on numbers of mean 0 and deviation 1."""
        columns = target.reshape(len(target), -1)
        if self._is_warm_start():
            # The head keeps the units of the last fit.
            self._check_n_outputs(columns, "y")
        else:
            weight = check_sample_weight(sample_weight, columns)
            counts = weight > 0 if (weight > 0).any() else np.ones(len(columns), dtype=bool)
            self._scaler = StandardScaler().fit(columns[counts], sample_weight=weight[counts])
        self._is_flat = target.ndim == 1

    def _check_n_outputs(self, columns: np.ndarray, name: str) -> None:
        n_outputs = self._scaler.n_features_in_
        if columns.shape[1] != n_outputs:
            raise ValueError(
                f"{name} has {columns.shape[1]} columns, but the head has {n_outputs} outputs. Pass the "
                "same number of columns, or fit with warm_start=False."
            )

    def _encode_target(self, y: Any) -> np.ndarray:
        target = _validate_numbers(y)
        columns = target.reshape(len(target), -1)
        self._check_n_outputs(columns, "validation_data[1]")
        return self._scaler.transform(columns)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _validate_numbers(y: Any) -> np.ndarray:
    check_no_missing(y)
    return check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
