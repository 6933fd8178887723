"""Embedders as models of mteb, the Massive Text Embedding Benchmark."""

from copy import deepcopy
from functools import cached_property
from importlib.util import find_spec
from typing import Any

import joblib
import numpy as np
from scipy.sparse import issparse
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted


class MTEBEncoder:
    """An embedder as ``mteb.evaluate`` takes it; made by ``as_mteb``.

    It implements the protocol ``mteb.EncoderProtocol``.
    """

    def __init__(self, embedder: Any, query: Any, document: Any, name: str) -> None:
        # mteb asks for the embeddings of queries, of documents, or of texts that are neither.
        self._embedders = {None: embedder, "query": query, "document": document}
        self._name = name

    def encode(self, inputs: Any, *, prompt_type: Any = None, **kwargs: Any) -> np.ndarray:
        """Embed the texts of the batches of mteb, float32."""
        del kwargs  # task and split; batch_size
        texts: list[str] = []
        for batch in inputs:
            if "text" not in batch:
                raise ValueError(
                    f"the task has inputs of the kinds {sorted(batch)}, and this embedder reads text. "
                    "Pass tasks of texts."
                )
            texts += batch["text"]
        side = None if prompt_type is None else str(getattr(prompt_type, "value", prompt_type))
        embeddings = self._embedders[side].transform(texts)
        if issparse(embeddings):
            raise TypeError(
                "embedder returns sparse rows, and mteb compares dense embeddings. Reduce them: "
                "make_pipeline(TfidfVectorizer(), TruncatedSVD())."
            )
        return np.asarray(embeddings, dtype=np.float32)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Compute the cosine similarity of each row of one with each row of the other."""
        from mteb.similarity_functions import cos_sim

        return cos_sim(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Compute the cosine similarities of the rows of one with the same rows of the other."""
        from mteb.similarity_functions import pairwise_cos_sim

        return pairwise_cos_sim(embeddings1, embeddings2)

    @property
    def mteb_model_meta(self) -> Any:
        """What mteb stores with results, by which it finds them again."""
        from mteb.models.model_meta import ModelMeta, ScoringFunction

        return ModelMeta.create_empty(
            {
                "name": self._name,
                # mteb returns stored results of the same name and revision without computing them.
                "revision": self._revision,
                "similarity_fn_name": ScoringFunction.COSINE,
                "embed_dim": getattr(self._embedders[None], "embedding_dim_", None),
            }
        )

    @cached_property
    def _revision(self) -> str:
        return joblib.hash(list(self._embedders.values()))

    def __repr__(self) -> str:
        return f"as_mteb({self._embedders[None]!r})"


def as_mteb(
    embedder: Any,
    *,
    query_prompt: str | None = "auto",
    document_prompt: str | None = "auto",
    name: str | None = None,
) -> MTEBEncoder:
    """Return an embedder as a model that ``mteb.evaluate`` takes.

    Parameters
    ----------
    embedder : SentenceEmbedder or other transformer
        The transformer of texts to embeddings. A fitted one is used as it is. One that is not fitted
        must be a :class:`~sk_sentemb.SentenceEmbedder` without a ``fine_tuner``.

    query_prompt : str, default="auto"
        Prompt prepended to the queries of retrieval tasks.

        - ``"auto"``: the prompt of the embedder, if it has a parameter ``prompt`` or ``prompt_name``;
          or else the checkpoint's prompt named ``query``; or else, for models called E5, ``"query: "``;
          or else the checkpoint's default prompt;
        - None: no prompt;
        - other str: the name of a prompt of the checkpoint, or else literal text.

    document_prompt : str, default="auto"
        Prompt prepended to documents, likewise. ``"auto"`` looks for the checkpoint's prompts named
        ``document``, ``passage`` and ``corpus``; that of E5 models is ``"passage: "``.

    name : str, default=None
        Name of the model in results, as ``"organization/model"``. If None, the name of the embedder's
        model in the organization ``sk_sentemb``.

    Returns
    -------
    object
        A model of mteb. Embeddings are compared by cosine similarity. Its revision is a hash of
        the embedder and its prompts, so that mteb stores results of different embedders separately.

    Raises
    ------
    ImportError
        If mteb is not installed.
    ValueError
        If a prompt is requested, but ``embedder`` contains no ``SentenceEmbedder``.
    NotFittedError
        If an embedder that needs training is not fitted.

    Notes
    -----
    Texts that are neither queries nor documents, as in tasks of similarity, classification or
    clustering, have the prompt of the embedder.

    Examples
    --------
    >>> import mteb  # doctest: +SKIP
    >>> from sk_sentemb import SentenceEmbedder
    >>> from sk_sentemb.metrics import as_mteb
    >>> model = as_mteb(SentenceEmbedder())  # doctest: +SKIP
    >>> results = mteb.evaluate(model, mteb.get_task("NFCorpus"))  # doctest: +SKIP
    """
    if find_spec("mteb") is None:
        raise ImportError("as_mteb requires mteb, which is not installed. Run: pip install mteb")
    while isinstance(embedder, FrozenEstimator):
        embedder = embedder.estimator
    embedder = _fit_if_frozen(embedder)
    query = _with_prompt(embedder, "query", query_prompt)
    document = _with_prompt(embedder, "document", document_prompt)
    return MTEBEncoder(embedder, query, document, name or _name_model(embedder))


def _fit_if_frozen(embedder: Any) -> Any:
    """Return a fitted embedder; a frozen model needs no data."""
    is_frozen = getattr(embedder, "fine_tuner", "no such parameter") is None
    if is_frozen and not embedder.__sklearn_is_fitted__():
        return clone(embedder).fit(["text"])
    check_is_fitted(embedder)
    return embedder


def _with_prompt(embedder: Any, side: str, prompt: str | None) -> Any:
    """Return a copy that has the prompt of one side."""
    from ..encoder import find_search_prompt, warn_literal_prompt

    prefix = _find_prefix(embedder)
    if prefix is None:
        if prompt not in ("auto", None):
            raise ValueError(
                f"{side}_prompt={prompt!r}, but only a SentenceEmbedder has prompts, and embedder is of "
                f"type {type(embedder).__name__}. Pass 'auto' or None."
            )
        return embedder
    params = embedder.get_params()
    of_text = params[prefix.removesuffix("__")] if prefix else embedder
    prompts = of_text.encoder_.prompts
    if prompt == "auto":
        if (of_text.prompt, of_text.prompt_name) != (None, None):
            return embedder
        text, prompt_name = find_search_prompt(side, of_text.encoder_, of_text.model)
    elif prompt in prompts:
        text, prompt_name = None, prompt
    else:
        warn_literal_prompt(prompts, prompt)
        text, prompt_name = prompt or "", None
    # A deep copy shares the model.
    return deepcopy(embedder).set_params(
        **{f"{prefix}prompt": text, f"{prefix}prompt_name": prompt_name}
    )


def _find_prefix(embedder: Any) -> str | None:
    """Return the prefix of the parameters of the first SentenceEmbedder, None without one."""
    names = (name for name in embedder.get_params() if name.split("__")[-1] == "prompt_name")
    name = next(names, None)
    return None if name is None else name.removesuffix("prompt_name")


def _name_model(embedder: Any) -> str:
    """Return a name for results: that of the model, or of the class."""
    prefix = _find_prefix(embedder)
    model = type(embedder).__name__ if prefix is None else embedder.get_params()[f"{prefix}model"]
    last = str(getattr(model, "name", model)).replace("\\", "/").rstrip("/").rpartition("/")[2]
    return f"sk_sentemb/{last}"
