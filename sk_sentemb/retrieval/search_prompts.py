"""Which prompt the queries get, and which the documents."""

import logging
from collections.abc import Mapping
from copy import copy
from typing import Any, NamedTuple

from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from ..embedder import SentenceEmbedder
from ..encoder import Encoder, find_search_prompt, warn_literal_prompt

logger = logging.getLogger(__name__)


class Prompt(NamedTuple):
    """The prompt parameters of an embedder."""

    prompt: str | None = None
    prompt_name: str | None = None


def resolve_prompt(side: str, prompt: str | None, embedder: SentenceEmbedder) -> Prompt:
    """Return the prompt of one side: the requested one, or for "auto" that of the checkpoint."""
    own = Prompt(embedder.prompt, embedder.prompt_name)
    encoder = get_encoder(embedder)
    if prompt is None:
        return Prompt(prompt="")
    if prompt != "auto":
        if prompt in encoder.prompts:
            return Prompt(prompt_name=prompt)
        warn_literal_prompt(encoder.prompts, prompt)
        return Prompt(prompt=prompt)
    if own != Prompt():
        return own
    return Prompt(*find_search_prompt(side, encoder, embedder.model))


def get_encoder(embedder: SentenceEmbedder) -> Encoder:
    """Return the model of an embedder, fitted or not; all embedders share it."""
    return getattr(embedder, "encoder_", None) or copy(embedder)._load()


def log_prompts(prompts: Mapping[str, str]) -> None:
    """Say which prompts were chosen, for the log of an application."""
    if any(prompts.values()):
        logger.info(
            "queries are embedded with the prompt %r, documents with %r.",
            prompts["query"],
            prompts["document"],
        )


def find_text_embedder(embedder: Any) -> SentenceEmbedder | None:
    """Return the SentenceEmbedder that an embedder is or begins with."""
    if isinstance(embedder, FrozenEstimator):
        return find_text_embedder(embedder.estimator)
    if isinstance(embedder, Pipeline):
        found = (find_text_embedder(step) for _, step in embedder.steps)
        return next((step for step in found if step is not None), None)
    return embedder if isinstance(embedder, SentenceEmbedder) else None


def with_parameters(embedder: Any, **parameters: Any) -> Any:
    """Return a copy, fitted or not, whose SentenceEmbedder has other parameters."""
    if find_text_embedder(embedder) is None:
        return embedder
    copied = copy(embedder)
    if isinstance(embedder, FrozenEstimator):
        copied.estimator = with_parameters(embedder.estimator, **parameters)
    elif isinstance(embedder, Pipeline):
        copied.steps = [
            (name, with_parameters(step, **parameters)) for name, step in embedder.steps
        ]
    else:
        vars(copied).update(parameters)
    return copied
