"""A sentence embedding model: texts in, float32 vectors out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from numbers import Integral
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from .._types import Text
from ..exceptions import CheckpointError
from .modules import (
    POOLINGS,
    Dropout,
    Normalize,
    Pooling,
    SequenceHead,
    WeightedLayerPooling,
    digest_of,
    infer_pooling,
    new_head,
)
from .packing import (
    Backbone,
    Pack,
    StaticBackbone,
    average_windows,
    encode_packs,
    iter_tokenized_blocks,
)
from .prompts import find_prompt
from .python_scalars import to_python_scalar
from .tokenization import LONG_TEXT, TextTokenizer, TokenizedTexts
from .torch_state import isolated

# A processor's caches hold the activations of a few thousand tokens; an accelerator wants many more.
AUTO_BATCH_TOKENS = {"cpu": 2048, "mps": 8192, "cuda": 32768}


class Source(NamedTuple):
    """Where an encoder came from: what to ask for to get it again."""

    model: str
    revision: str | None


class Embedded(NamedTuple):
    """Vectors of texts, and which of the texts were cut."""

    vectors: np.ndarray
    truncated: np.ndarray


@dataclass(frozen=True, eq=False)
class Encoder:
    """A model that is loaded and ready. It is immutable, so that copies share it.

    Get one with :func:`sk_sentemb.load_encoder`.

    Attributes
    ----------
    tokenizer : TextTokenizer
        Texts to token ids.
    backbone : Backbone or StaticBackbone
        Token ids to hidden states.
    modules : tuple of nn.Module
        Hidden states to vectors: pooling and what follows it.
    max_length : int or None
        The most tokens of a text that are read, special tokens included.
    prompts : mapping of str to str
        The prompts that the checkpoint knows, by name.
    default_prompt : str
        The prompt that is used when no other is asked for; mostly empty.
    fingerprint : str
        A digest of the weights, the tokenizer and the configuration, as hexadecimal digits.
    similarity : str or None
        The similarity that the checkpoint was trained for, by sentence-transformers' names.
    truncate_dim : int or None
        How many dimensions the checkpoint asks to keep.
    source : Source or None
        Where it came from; None if no name leads to it.
    origin : Encoder or None
        The one that this was made from, if any; it lives as long, so that the process goes on
        knowing that it has these weights.
    saved_tokenizer : PreTrainedTokenizerBase or None
        The tokenizer as transformers writes it.
    towers : CLIPModelPair or None
        The CLIP whose texts it encodes.
    unsaved : bool
        Whether it was trained in this process and not loaded from a pickle or a folder. No other process
        can ask for its embeddings.
    carried : str
        Tells what a pickle or a skops file carried from all other weights, where nothing but that file
        says that these have the fingerprint; empty if they have it.
    """

    tokenizer: TextTokenizer
    backbone: Backbone | StaticBackbone
    modules: tuple[Any, ...]
    max_length: int | None
    fingerprint: str
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str = ""
    similarity: str | None = None
    truncate_dim: int | None = None
    source: Source | None = None
    origin: "Encoder | None" = None
    saved_tokenizer: PreTrainedTokenizerBase | None = None
    towers: Any = None
    unsaved: bool = False
    carried: str = ""

    def __repr__(self) -> str:
        name = self.source.model if self.source else "unnamed"
        return f"Encoder({name!r}, device='{self.device}', dtype='{self.dtype}')"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict) -> Self:
        return self

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return next(_weights(self.backbone).parameters()).device

    @property
    def dtype(self) -> str:
        """The number format of the backbone: ``"float32"``, ``"bfloat16"`` or ``"float16"``."""
        return str(next(_weights(self.backbone).parameters()).dtype).removeprefix("torch.")

    @property
    def network(self) -> nn.Module:
        """The model whose weights it keeps in memory; another encoder may share it."""
        return self.towers.model if self.towers else _weights(self.backbone)

    @property
    def n_bytes(self) -> int:
        """Memory of its weights."""
        return sum(weight.nbytes for weight in self.network.parameters())

    @property
    def normalizes(self) -> bool:
        """Whether the vectors have length one."""
        lasting = [module for module in self.modules if not isinstance(module, Dropout)]
        return isinstance(lasting[-1], Normalize)

    @property
    def pooling(self) -> tuple[str, ...]:
        """The names of the poolings."""
        return self.modules[self._pooling_index].modes

    @property
    def embedding_dim(self) -> int:
        """Dimension of a vector."""
        return next(m.out_dim for m in reversed(self.modules) if hasattr(m, "out_dim"))

    @property
    def head(self) -> SequenceHead | None:
        """What makes logits of pairs, if this is a cross-encoder."""
        last = self.modules[-1]
        return last if isinstance(last, SequenceHead) else None

    @property
    def _reads_first_tokens(self) -> bool:
        """Whether nothing but the first token of each text makes its vector."""
        reader = self.modules[0]
        return isinstance(reader, Pooling) and reader.modes == ("cls",) and reader.include_prompt

    @property
    def _pooling_index(self) -> int:
        return next(i for i, module in enumerate(self.modules) if isinstance(module, Pooling))

    def with_pooling(
        self, *, pooling: str | Sequence[str] = "auto", normalize: bool | str = "auto"
    ) -> Self:
        """Return an encoder that pools or normalises in another way, with the same weights.

        Parameters
        ----------
        pooling : str or sequence of str, default="auto"
            Names of poolings, or ``"auto"`` for the checkpoint's own.
        normalize : bool or "auto", default="auto"
            Whether vectors get length one, or ``"auto"`` as the checkpoint says.

        Returns
        -------
        Encoder
            It shares the weights with this one.

        Raises
        ------
        ValueError
            If a pooling is unknown or a layer that follows it needs another dimension.
        """
        pooling, normalize = to_python_scalar((pooling, normalize))
        modules = list(self.modules)
        is_other = pooling != "auto" and _names(pooling) != self.pooling
        if self.head is not None and (is_other or normalize is True):
            raise ValueError(
                "a cross-encoder's head reads its own pooling: pass pooling='auto' and normalize='auto'."
            )
        if is_other:
            modules[self._pooling_index] = self._repooled(_names(pooling))
        if normalize != "auto" and normalize != self.normalizes:
            # A Normalize further up belongs to the model and stays.
            modules = [*modules, Normalize()] if normalize else modules[: _last_normalize(modules)]
        if tuple(modules) == self.modules:
            return self
        return self.replace(modules=tuple(modules))

    def replace(self, **changes: Any) -> Self:
        """Return an encoder with some attributes changed, and the same weights.

        Parameters
        ----------
        **changes : object
            New values of attributes.

        Returns
        -------
        Encoder
            It shares the weights with this one.
        """
        if {"backbone", "tokenizer"} & changes.keys() and "fingerprint" not in changes:
            raise ValueError(
                "another backbone or tokenizer is another model: pass its fingerprint as well."
            )
        return replace(self, origin=self.origin or self, **to_python_scalar(changes))

    @isolated
    def with_new_head(self, n_labels: int, seed: int) -> Self:
        """Return a cross-encoder of the same transformer, whose head has random weights.

        Parameters
        ----------
        n_labels : int
            How many logits a pair gets.
        seed : int
            Of the weights.

        Returns
        -------
        Encoder
            It shares the transformer with this one, and no name leads to it.

        Raises
        ------
        CheckpointError
            If there is no such head for the architecture.
        """
        if isinstance(self.backbone, StaticBackbone):
            raise CheckpointError("a model of static vectors cannot read pairs.")
        head = new_head(self.backbone.model, self.head, n_labels, seed).to(self.device)
        head.requires_grad_(False)
        pooling = infer_pooling(head, self.backbone.dim)
        return self.replace(
            modules=(pooling, head),
            source=None,
            default_prompt="",
            similarity=None,
            truncate_dim=None,
            unsaved=True,
        )

    def with_head(self, head: SequenceHead) -> Self:
        """Return the cross-encoder with another head, such as its own with other labels.

        No name leads to it.

        Parameters
        ----------
        head : SequenceHead
            For the same transformer.

        Returns
        -------
        Encoder
            It shares the transformer with this one.
        """
        return self.replace(modules=(*self.modules[:-1], head), source=None)

    def encoding_params(
        self,
        *,
        prompt: str | None = None,
        prompt_name: str | None = None,
        max_length: int | None = None,
        long_text: str = "truncate",
    ) -> dict[str, Any]:
        """Return all that decides a text's vector, beside the text.

        Parameters
        ----------
        prompt : str, default=None
            As in :meth:`encode`.
        prompt_name : str, default=None
            As in :meth:`encode`.
        max_length : int, default=None
            As in :meth:`encode`.
        long_text : str, default="truncate"
            As in :meth:`encode`.

        Returns
        -------
        dict
            Strings, numbers and None. Equal recipes give equal vectors, up to the last bits.
        """
        return {
            # Of what was trained from carried weights, both count.
            "fingerprint": f"{self.carried} {self.fingerprint}".strip(),
            "modules": self._modules_digest,
            "dtype": self.dtype,
            "prompt": self.resolve_prompt(prompt, prompt_name),
            "max_length": self.resolve_max_length(max_length),
            "long_text": long_text,
        }

    @cached_property
    def _modules_digest(self) -> str:
        return digest_of(self.modules)

    def _repooled(self, names: tuple[str, ...]) -> Pooling:
        if not names or not all(isinstance(name, str) and name in POOLINGS for name in names):
            raise ValueError(
                f"pooling={list(names)}: pass 'auto', or one or more of {[*POOLINGS]}."
            )
        if isinstance(self.backbone, StaticBackbone):
            raise ValueError(f"pooling={list(names)}: a model of static vectors has the mean only.")
        old, *followers = self.modules[self._pooling_index :]
        new = Pooling(old.dim, names, include_prompt=old.include_prompt)
        if new.out_dim != old.out_dim and any(list(module.parameters()) for module in followers):
            raise ValueError(
                f"pooling={list(names)} gives {new.out_dim} dimensions, but the layer that follows "
                f"takes the {old.out_dim} of {list(old.modes)}."
            )
        return new

    def resolve_prompt(self, prompt: str | None = None, prompt_name: str | None = None) -> str:
        """Return the text that is put before each text.

        Parameters
        ----------
        prompt : str, default=None
            The text itself; ``""`` for no prompt.
        prompt_name : str, default=None
            A name among ``prompts``. With neither, the checkpoint's default prompt is used.

        Returns
        -------
        str
            The prompt; empty for none.

        Raises
        ------
        ValueError
            If both are passed, or the checkpoint has no prompt of that name.
        """
        if prompt_name is None:
            return self.default_prompt if prompt is None else str(prompt)
        if prompt is not None:
            raise ValueError(
                f"prompt={prompt!r} and prompt_name={prompt_name!r} are both set. Pass prompt for a "
                "literal text, or prompt_name for one of the checkpoint's prompts."
            )
        return find_prompt(self.prompts, prompt_name)

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
        """Embed texts. Give each distinct text once; equal texts are not looked for.

        Parameters
        ----------
        texts : sequence of str, or of (str, str)
            What to embed; of a cross-encoder, the pairs to read. Half a surrogate pair is read as
            U+FFFD.
        prompt : str, default=None
            Text to put before each text, or before the first text of each pair, exactly as it is.
        prompt_name : str, default=None
            The name of a prompt in ``prompts`` to use instead. With neither, the checkpoint's default
            prompt is used; pass ``prompt=""`` for none.
        max_length : int, default=None
            Read at most so many tokens; None for the checkpoint's own limit.
        long_text : {"truncate", "chunk", "error"}, default="truncate"
            What to do with a longer text: cut its end off, embed overlapping windows and average
            them, or raise.
        batch_tokens : int or "auto", default="auto"
            Tokens that run together. Halved, with a warning, when memory runs out.
        on_progress : callable, default=None
            Called after each pack with the number of texts that are done.

        Returns
        -------
        vectors : ndarray of shape (n_texts, embedding_dim), float32
            One row for each text; of a cross-encoder, the logits.
        truncated : ndarray of shape (n_texts,), bool
            Which texts lost their ends.

        Raises
        ------
        TextTooLongError
            With ``long_text="error"``.
        FloatingPointError
            If the number format cannot hold the model's states.
        """
        _check_arguments(texts, long_text, batch_tokens, pairs=self.head is not None)
        vectors = np.empty((len(texts), self.embedding_dim), dtype=np.float32)
        truncated = np.zeros(len(texts), dtype=bool)
        n_done = 0
        budget = self.resolve_batch_tokens(batch_tokens)
        tokenize = partial(
            self.tokenizer,
            prompt=self.resolve_prompt(prompt, prompt_name),
            max_length=self.resolve_max_length(max_length),
            long_text=long_text,
        )
        # In an order of their own, so that the last bits do not depend on that of the caller.
        order = np.array(sorted(range(len(texts)), key=texts.__getitem__), dtype=np.intp)
        for block, tokens in iter_tokenized_blocks(tokenize, texts, order):
            windows, budget = encode_packs(
                partial(self.forward, tokens),
                tokens.lengths,
                budget,
                padded=not self.backbone.packed,
                equal_lengths=self.backbone.equal_lengths,
                on_progress=_texts_done(on_progress, n_done, len(block), len(tokens.lengths)),
            )
            if not np.isfinite(windows).all():
                raise FloatingPointError(
                    f"dtype={self.dtype!r} cannot hold what this model computes: the vectors are "
                    "not finite. Pass dtype='float32' or 'bfloat16'."
                )
            joined = average_windows(windows, tokens, unit=self.normalizes)
            vectors[block], truncated[block] = joined, tokens.truncated
            n_done += len(block)
        return Embedded(vectors, truncated)

    def resolve_batch_tokens(self, batch_tokens: int | str) -> int:
        """Return how many tokens run together.

        Parameters
        ----------
        batch_tokens : int or "auto"
            What is asked for; "auto" for what suits the device.

        Returns
        -------
        int
            The budget.
        """
        return AUTO_BATCH_TOKENS[self.device.type] if batch_tokens == "auto" else int(batch_tokens)

    def resolve_max_length(self, max_length: int | None) -> int | None:
        """Return how many tokens of a text are read.

        Parameters
        ----------
        max_length : int or None
            What is asked for; None for the checkpoint's own limit.

        Returns
        -------
        int or None
            The limit, special tokens included; None without one.

        Raises
        ------
        ValueError
            If the model has no positions for so many.
        """
        if max_length is None:
            return self.max_length
        most = self.backbone.max_length
        if most is not None and max_length > most:
            todo = (
                ", and long_text='chunk' to use the rest of longer texts"
                if self.head is None
                else ""
            )
            raise ValueError(
                f"max_length={max_length}, but the model reads at most {most} tokens; pass {most} or "
                f"less{todo}."
            )
        return int(max_length)

    def forward(self, tokens: TokenizedTexts, pack: Pack) -> torch.Tensor:
        """Run one pack.

        Parameters
        ----------
        tokens : Tokens
            Of some texts.
        pack : Pack
            Which of their windows run together.

        Returns
        -------
        torch.Tensor of shape (n_windows, embedding_dim), float32
            In the order of the pack.
        """
        all_layers = any(isinstance(module, WeightedLayerPooling) for module in self.modules)
        with self.backbone.lock:
            ids, types = tokens.of(pack.rows)
            states = self.backbone(
                ids, pack, types=types, all_layers=all_layers, first_only=self._reads_first_tokens
            )
            x: Any = replace(states, prompt_length=tokens.prompt_length)
            for module in self.modules:
                x = module(x)
            return x


def _names(pooling: str | Sequence[str]) -> tuple[str, ...]:
    return (pooling,) if isinstance(pooling, str) else tuple(pooling)


def _last_normalize(modules: Sequence[Any]) -> int:
    return max(i for i, module in enumerate(modules) if isinstance(module, Normalize))


def _check_arguments(
    texts: Sequence[Text], long_text: str, batch_tokens: int | str, *, pairs: bool
) -> None:
    if isinstance(texts, str):
        raise TypeError("texts is a single str; pass [text] to embed one text.")
    for i, text in enumerate(texts):
        if pairs and not (
            isinstance(text, tuple) and len(text) == 2 and all(isinstance(t, str) for t in text)
        ):
            raise TypeError(f"pair {i} is {text!r}; a cross-encoder reads tuples of two str.")
        if not pairs and not isinstance(text, str):
            raise TypeError(f"text {i} is of type {type(text).__name__}; pass str.")
    if long_text not in LONG_TEXT:
        raise ValueError(f"long_text={long_text!r}: pass one of {list(LONG_TEXT)}.")
    if batch_tokens != "auto" and not (isinstance(batch_tokens, Integral) and batch_tokens > 0):
        raise ValueError(f"batch_tokens={batch_tokens!r}: pass 'auto' or a positive int.")


def _texts_done(
    report: Callable[[int], object] | None, n_before: int, n_texts: int, n_windows: int
) -> Callable[[int], None]:
    """Report the windows of a block that are done as texts that are done."""

    def on_windows(n_done: int) -> None:
        if report is not None:
            report(n_before + n_texts * n_done // n_windows)

    return on_windows


def _weights(backbone: Backbone | StaticBackbone) -> nn.Module:
    return backbone.embedding if isinstance(backbone, StaticBackbone) else backbone.model
