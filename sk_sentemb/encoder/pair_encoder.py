"""The cross-encoder, which scores pairs of texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from .._types import Text
from ..exceptions import CheckpointError
from .isolation import isolated
from .modules import SequenceHead, infer_pooling, new_head
from .packing import StaticBackbone
from .text_encoder import Encoder


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class PairEncoder(Encoder):
    """A cross-encoder, which outputs logits for pairs of texts: its last module is a head."""

    reads = "pairs"
    texts_per_input = 2
    input_noun = "pair"

    @classmethod
    @isolated
    def with_new_head(cls, encoder: Encoder, n_labels: int, seed: int) -> Self:
        """Return a cross-encoder with the transformer of an encoder and a randomly initialized head."""
        if isinstance(encoder.backbone, StaticBackbone):
            raise CheckpointError("a static embedding model cannot read pairs.")
        transformer = encoder.backbone.model
        owner = encoder.head if isinstance(encoder, PairEncoder) else transformer
        pooler = getattr(owner, "pooler", None)
        head = new_head(transformer, pooler, n_labels, seed).to(encoder.device)
        head.requires_grad_(False)
        kept = ("tokenizer", "backbone", "max_length", "fingerprint", "prompts", "saved_tokenizer")
        return cls(
            modules=(infer_pooling(head, encoder.backbone.dim), head),
            origin=encoder.origin or encoder,
            carried=encoder.carried,
            unsaved=True,
            **{name: getattr(encoder, name) for name in kept},
        )

    @property
    def head(self) -> SequenceHead:
        """The head, which turns a pooled hidden state into logits."""
        return self.modules[-1]

    def with_head(self, head: SequenceHead) -> Self:
        """Return a cross-encoder with another head and the same transformer."""
        return self.replace(modules=(*self.modules[:-1], head), source=None)

    def with_pooling(
        self, *, pooling: str | Sequence[str] = "auto", normalize: bool | str = "auto"
    ) -> Self:
        """Return the cross-encoder itself: its head determines the pooling."""
        is_own = pooling in ("auto", self.pooling) or [*pooling] == [*self.pooling]
        if not is_own or (normalize != "auto" and normalize):
            raise ValueError(
                "the head of a cross-encoder requires its own pooling: pass pooling='auto' and "
                "normalize='auto'."
            )
        return self

    def _check_texts(self, texts: Sequence[Text]) -> None:
        if isinstance(texts, str):
            raise TypeError("texts is a single str; pass [(first, second)] to score one pair.")
        for i, pair in enumerate(texts):
            if not (
                isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(t, str) for t in pair)
            ):
                raise TypeError(f"pair {i} is {pair!r}; a cross-encoder expects tuples of two str.")
