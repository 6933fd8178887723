"""Models of texts over one forward pass, and the bi-encoder, which embeds single texts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from numbers import Integral
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from .._types import Text
from ..exceptions import TextTooLongError
from ._base import AUTO_BATCH_TOKENS, BaseEncoder
from .isolation import isolated
from .modules import (
    POOLINGS,
    Pooling,
    WeightedLayerPooling,
)
from .packing import (
    Backbone,
    Pack,
    StaticBackbone,
    average_windows,
    encode_packs,
    prefetch,
    split_into_blocks,
)
from .prompts import find_prompt
from .tokenization import LONG_TEXT, TextTokenizer, TokenizedTexts


class Embedded(NamedTuple):
    """Embeddings of texts or logits of pairs, and a mask of the truncated ones."""

    vectors: np.ndarray
    truncated: np.ndarray


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Encoder(BaseEncoder):
    """A loaded model that turns texts into embeddings, or pairs of texts into logits.

    Encoders are immutable, and copies share one model. Get one with :func:`sk_sentemb.load_encoder`.

    Attributes
    ----------
    tokenizer : TextTokenizer
        Turns texts into token ids.
    backbone : Backbone or StaticBackbone
        Turns token ids into hidden states.
    modules : tuple of nn.Module
        Turn hidden states into embeddings: pooling and what follows it.
    max_length : int or None
        The maximum number of tokens per text, including special tokens.
    prompts : mapping of str to str
        The prompts stored in the checkpoint, by name.
    default_prompt : str
        The prompt that is used if no other is requested; often empty.
    fingerprint : str
        A checksum of the weights, the tokenizer and the configuration, as hexadecimal digits.
    truncate_dim : int or None
        The number of dimensions to which the checkpoint truncates embeddings.
    source : Source or None
        The name and revision the model was loaded by; None if no name leads to these weights.
    unsaved : bool
        Whether the model was trained in this process and not loaded from a pickle or a folder. No
        other process can request its embeddings.
    """

    tokenizer: TextTokenizer
    backbone: Backbone | StaticBackbone
    max_length: int | None
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str = ""
    saved_tokenizer: PreTrainedTokenizerBase | None = None  # as transformers writes it
    unsaved: bool = False

    texts_per_input: ClassVar[int]
    input_noun: ClassVar[str]

    @property
    def _running_part(self) -> nn.Module:
        backbone = self.backbone
        return backbone.embedding if isinstance(backbone, StaticBackbone) else backbone.model

    @property
    def pooling(self) -> tuple[str, ...]:
        """The names of the pooling modes."""
        return self.modules[self._pooling_index].modes

    @property
    def _pooling_index(self) -> int:
        return next(i for i, module in enumerate(self.modules) if isinstance(module, Pooling))

    @property
    def _reads_first_tokens(self) -> bool:
        """Whether embeddings depend on the hidden state of each text's first token alone."""
        first = self.modules[0]
        return isinstance(first, Pooling) and first.modes == ("cls",) and first.include_prompt

    def replace(self, **changes: Any) -> Self:
        """Return an encoder with some attributes changed and the same weights."""
        if {"backbone", "tokenizer"} & changes.keys() and "fingerprint" not in changes:
            raise ValueError("a new backbone or tokenizer requires a new fingerprint.")
        return super().replace(**changes)

    def encoding_params(
        self,
        *,
        prompt: str | None = None,
        prompt_name: str | None = None,
        max_length: int | None = None,
        long_text: str = "truncate",
    ) -> dict[str, Any]:
        """Return everything apart from the text that determines an embedding."""
        return self._common_params() | {
            "prompt": self.resolve_prompt(prompt, prompt_name),
            "max_length": self.resolve_max_length(max_length),
            "long_text": long_text,
        }

    def resolve_prompt(self, prompt: str | None = None, prompt_name: str | None = None) -> str:
        """Return the text that is prepended to each text, which may be empty."""
        if prompt_name is None:
            return self.default_prompt if prompt is None else str(prompt)
        if prompt is not None:
            raise ValueError(
                f"prompt={prompt!r} and prompt_name={prompt_name!r} are both set. Pass prompt for a "
                "literal text, or prompt_name for one of the checkpoint's prompts."
            )
        return find_prompt(self.prompts, prompt_name)

    def resolve_batch_tokens(self, batch_tokens: int | str) -> int:
        """Return the maximum number of tokens per forward pass."""
        return AUTO_BATCH_TOKENS[self.device.type] if batch_tokens == "auto" else int(batch_tokens)

    def resolve_max_length(self, max_length: int | None) -> int | None:
        """Return the maximum number of tokens per text, None if unlimited."""
        if max_length is None:
            return self.max_length
        most = self.backbone.max_length
        if most is not None and max_length > most:
            raise ValueError(
                f"max_length={max_length}, but the model reads at most {most} tokens. Pass {most} or "
                f"less{self._long_text_advice}."
            )
        return int(max_length)

    # What to do, apart from that, about texts longer than the model can read.
    _long_text_advice: ClassVar[str] = ""

    @isolated
    @torch.inference_mode()
    def encode(
        self,
        texts: Sequence[Text],
        *,
        prompt: str | None = None,
        prompt_name: str | None = None,
        max_length: int | None = None,
        long_text: str = "truncate",
        batch_tokens: int | str = "auto",
        on_progress: Callable[[int], object] | None = None,
    ) -> Embedded:
        """Embed texts, or score pairs of texts.

        Equal texts are not recognized: pass each distinct text once.

        Parameters
        ----------
        texts : sequence of str, or of (str, str)
            The texts, or the pairs if the model is a cross-encoder. A lone surrogate is read as U+FFFD.
        prompt : str, default=None
            Text prepended to each text, or to the first text of each pair, exactly as it is.
        prompt_name : str, default=None
            The name of a prompt in ``prompts`` to use instead. If both are None, the default prompt of
            the checkpoint is used; ``prompt=""`` disables prompting.
        max_length : int, default=None
            Maximum number of tokens per text, including special tokens; None for that of the
            checkpoint.
        long_text : {"truncate", "chunk", "error"}, default="truncate"
            How to handle texts above ``max_length``.

            - ``"truncate"``: drop the tokens above it;
            - ``"chunk"``: embed overlapping windows and average them (not for pairs);
            - ``"error"``: raise a ``TextTooLongError``.
        batch_tokens : int or "auto", default="auto"
            Maximum number of tokens per forward pass. Halved, with a warning, after an out-of-memory
            error.
        on_progress : callable, default=None
            Called with the number of texts done after each forward pass.

        Returns
        -------
        vectors : ndarray of shape (n_texts, embedding_dim), float32
            The embeddings, or the logits of a cross-encoder.
        truncated : ndarray of shape (n_texts,), bool
            Mask of truncated texts.

        Raises
        ------
        TextTooLongError
            If a text is too long and ``long_text="error"``.
        FloatingPointError
            If the dtype of the model cannot represent its hidden states.
        """
        self._check_texts(texts)
        if long_text not in LONG_TEXT:
            raise ValueError(f"long_text={long_text!r}: pass one of {list(LONG_TEXT)}.")
        if batch_tokens != "auto" and not (isinstance(batch_tokens, Integral) and batch_tokens > 0):
            raise ValueError(f"batch_tokens={batch_tokens!r}: pass 'auto' or a positive int.")
        vectors = np.empty((len(texts), self.embedding_dim), dtype=np.float32)
        truncated = np.zeros(len(texts), dtype=bool)
        n_done, budget = 0, self.resolve_batch_tokens(batch_tokens)
        settings: dict[str, Any] = {
            "prompt": self.resolve_prompt(prompt, prompt_name),
            "max_length": self.resolve_max_length(max_length),
            "long_text": long_text,
        }

        def tokenize(block: np.ndarray) -> TokenizedTexts:
            try:
                return self.tokenizer([texts[i] for i in block], **settings)
            except TextTooLongError as error:
                raise TextTooLongError(int(block[error.position]), error.max_length) from None

        def report(n_windows: int) -> None:
            if on_progress is not None:
                on_progress(n_done + len(block) * n_windows // len(tokens.lengths))

        # Sorted, so that the last bits of an embedding do not depend on the order of the caller.
        order = np.array(sorted(range(len(texts)), key=texts.__getitem__), dtype=np.intp)
        blocks = split_into_blocks(texts, order)
        for block, tokens in zip(blocks, prefetch(blocks, tokenize), strict=True):
            windows, budget = encode_packs(
                partial(self.forward, tokens),
                tokens.lengths,
                budget,
                padded=not self.backbone.packed,
                equal_lengths=self.backbone.equal_lengths,
                on_progress=report,
            )
            self._check_finite(windows)
            vectors[block] = average_windows(windows, tokens, unit=self.normalizes)
            truncated[block] = tokens.truncated
            n_done += len(block)
        return Embedded(vectors, truncated)

    def _check_texts(self, texts: Sequence[Text]) -> None:
        raise NotImplementedError

    def forward(self, tokens: TokenizedTexts, pack: Pack) -> torch.Tensor:
        """Return the float32 embeddings of the windows in a pack, in its order."""
        all_layers = any(isinstance(module, WeightedLayerPooling) for module in self.modules)
        with self.backbone.lock:
            ids, types = tokens.select(pack.rows)
            states = self.backbone(
                ids, pack, types=types, all_layers=all_layers, first_only=self._reads_first_tokens
            )
            x: Any = replace(states, prompt_length=tokens.prompt_length)
            for module in self.modules:
                x = module(x)
            return x


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class TextEncoder(Encoder):
    """A bi-encoder, which embeds single texts."""

    similarity: str | None = None  # the one it was trained for, as sentence-transformers calls it

    reads = "texts"
    texts_per_input = 1
    input_noun = "text"
    _long_text_advice = ", and long_text='chunk' to use the rest of longer texts"

    def _replace_pooling(self, pooling: str | Sequence[str]) -> tuple[Any, ...]:
        modes = (pooling,) if isinstance(pooling, str) else tuple(pooling)
        if modes in (("auto",), self.pooling):
            return self.modules
        if not modes or not all(isinstance(mode, str) and mode in POOLINGS for mode in modes):
            raise ValueError(
                f"pooling={list(modes)}: pass 'auto', or one or more of {[*POOLINGS]}."
            )
        if isinstance(self.backbone, StaticBackbone):
            raise ValueError(f"pooling={list(modes)}: static embeddings support 'mean' only.")
        at = self._pooling_index
        old, followers = self.modules[at], self.modules[at + 1 :]
        new = Pooling(old.dim, modes, include_prompt=old.include_prompt)
        if new.out_dim != old.out_dim and any(list(module.parameters()) for module in followers):
            raise ValueError(
                f"pooling={list(modes)} outputs {new.out_dim} dimensions, but the layer that follows "
                f"expects the {old.out_dim} of {list(old.modes)}."
            )
        return (*self.modules[:at], new, *followers)

    def _check_texts(self, texts: Sequence[Text]) -> None:
        if isinstance(texts, str):
            raise TypeError("texts is a single str; pass [text] to embed one text.")
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"text {i} is of type {type(text).__name__}; pass str.")
