"""Check that the parts of a checkpoint fit together, when it is loaded and not at the first text."""

from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from ...exceptions import CheckpointError
from ..errors import wrap_errors
from ..model_files import Fields
from ..modules import SequenceHead
from ..packing import Backbone, StaticBackbone
from ..text_encoder import Encoder
from ..tokenization import TextTokenizer

# A word, and characters that few vocabularies contain.
_SAMPLE = "a harbour \U0001f642 \ue000"

_MISMATCH = "Its modules, tokenizer and weights do not fit together: fetch the model again."


def check_token_ids(
    tokenizer: TextTokenizer, backbone: Backbone | StaticBackbone, folder: Path
) -> None:
    """Check that the model has an embedding for every token id of the tokenizer."""
    if isinstance(backbone, StaticBackbone):
        table: Any = backbone.embedding
    else:
        table = backbone.model.get_input_embeddings()
    n_rows, highest = table.weight.shape[0], tokenizer.highest_id
    if highest >= n_rows:
        raise CheckpointError(
            f"the tokenizer in {folder} has token ids up to {highest}, but the weights have embeddings "
            f"for the ids below {n_rows} only. If tokens were added, call "
            "model.resize_token_embeddings(len(tokenizer)) and save both again; otherwise the files "
            "belong to two models: fetch the model again."
        )


def read_max_length(
    settings: Fields,
    tokenizer: TextTokenizer,
    saved: PreTrainedTokenizerBase | None,
    backbone: Backbone | StaticBackbone,
    *,
    n_texts: int,
) -> int | None:
    """Return the token limit of a checkpoint, which must exceed the number of special tokens."""
    asked = settings.size("max_seq_length", default=None)
    name = f"max_seq_length in {settings.file}"
    if asked is None:
        asked = getattr(saved, "model_max_length", tokenizer.own_limit)
        name = f"model_max_length in {settings.file.parent / 'tokenizer_config.json'}"
    if asked is not None and (isinstance(asked, bool) or not isinstance(asked, int | float)):
        raise CheckpointError(f"{name} is {asked!r}, but it must be a number of tokens.")
    positions = "max_position_embeddings in " + str(settings.file.parent / "config.json")
    limits = [(backbone.max_length, positions), (asked, name)]
    # transformers stores "no limit" as a huge number.
    known = [(int(limit), said) for limit, said in limits if limit is not None and limit < 10**9]
    if not known:
        return None
    shortest, said = min(known)
    least = tokenizer.count_special_tokens(n_texts) + n_texts
    if shortest < least:
        raise CheckpointError(
            f"{said} allows {shortest} tokens, but the special tokens and one token of each text are "
            f"{least}. Correct the file, or fetch the model again."
        )
    return shortest


def check_encoding(encoder: Encoder, folder: Path) -> None:
    """Encode a text, or a pair, through all modules."""
    text: Any = _SAMPLE if encoder.texts_per_input == 1 else (_SAMPLE,) * encoder.texts_per_input
    with wrap_errors(f"the model in {folder} cannot encode a {encoder.input_noun}", _MISMATCH):
        try:
            encoder.encode([text])
        except FloatingPointError as error:
            if encoder.dtype == "float32":  # otherwise another dtype may represent the values
                raise CheckpointError(
                    f"the model in {folder} computes values that are not finite, though its weights "
                    "are. Its config.json belongs to another model: fetch the model again."
                ) from error


def check_labels(head: SequenceHead, folder: Path) -> None:
    """Check that the logits of a head have names."""
    with wrap_errors(f"the model in {folder} has no labels", _MISMATCH):
        labels = head.labels
    if not labels or not all(isinstance(label, str) for label in labels):
        raise CheckpointError(
            f"{folder / 'config.json'} names the labels {labels!r:.80}, but a model that scores pairs "
            "has one or more strings. Fetch the model again, or correct id2label."
        )
