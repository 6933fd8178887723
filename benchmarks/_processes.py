"""Measurements in new processes: peak memory, imports, time to the first embedding."""

import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _common import Usage, fresh, interleave, median_ratio, read_texts, show
from _systems import OURS, PEER
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

_IMPORTS = [
    "import sklearn",
    "import sk_sentemb",
    "from sk_sentemb import SentenceEmbedder",
    "import sentence_transformers",
]

# What a user writes; the arguments are the model, the device and a file of texts.
_READ_TEXTS = "import json, sys; texts = json.load(open(sys.argv[3]))"
_ENCODE = {
    OURS: """
from sk_sentemb import SentenceEmbedder
SentenceEmbedder(sys.argv[1], device=sys.argv[2]).fit_transform(texts)
""",
    PEER: """
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(sys.argv[1], device=sys.argv[2], model_kwargs={"dtype": "float32"})
model.encode(texts, show_progress_bar=False)
""",
}

# Distinct texts of 1 to 25 tokens: the digits of a number, one to five times over.
_LOAD_TINY = """
import sys
texts = [" ".join(str(i) * (1 + i % 5)) for i in range(int(sys.argv[2]))]
from sk_sentemb import SentenceEmbedder
embedder = SentenceEmbedder(sys.argv[1], device="cpu", cache=None).fit(texts[:1])
embedder.transform(texts[:1])
"""


def peak_memory(folder: str, device: str, texts_of: dict[str, list[str]]) -> list[dict[str, Any]]:
    """Measure new processes that load a model and embed texts."""
    rows = []
    for name, texts in texts_of.items():
        peak = {system: _encode(system, folder, device, texts).peak for system in (OURS, PEER)}
        rows.append({"data": name, **peak, "ratio": peak[OURS] / peak[PEER]})
    formats = {OURS: ".0f", PEER: ".0f", "ratio": ".2f"}
    show("Peak memory of a new process, MiB", rows, formats)
    return rows


def start_up(folder: str, device: str, n_rounds: int) -> list[dict[str, Any]]:
    """Measure imports, and the time from start to the first embedding."""
    text = read_texts("banking77", 1)
    tasks = {statement: partial(fresh, statement) for statement in _IMPORTS}
    for system in (OURS, PEER):
        tasks[f"first vector of {system}"] = partial(_encode, system, folder, device, text)
    found = interleave(tasks, n_rounds)
    seconds = {what: [usage.seconds for usage in usages] for what, usages in found.items()}
    rows = [
        {
            "what": what,
            "s": float(np.median(seconds[what])),
            "ratio": median_ratio(seconds[what], seconds[_IMPORTS[0]]),
        }
        for what in tasks
    ]
    show(f"Start-up of a new process; ratio to `{_IMPORTS[0]}`", rows, {"s": ".3f", "ratio": ".2f"})
    return rows


def growth(counts: list[int]) -> list[dict[str, Any]]:
    """Measure memory in addition to model, texts and result, for more and more texts."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        dim = write_tiny_model(folder)
        for n_texts in counts:
            usage = fresh(
                "vectors = embedder.transform(texts)", folder, str(n_texts), setup=_LOAD_TINY
            )
            output = n_texts * dim * np.dtype(np.float32).itemsize / 2**20
            above = usage.peak - usage.before - output
            rows.append({"texts": n_texts, "output": output, "above": above})
    formats = {"texts": ",", "output": ".1f", "above": ".1f"}
    show("Peak memory above model, texts and output, MiB (tiny model)", rows, formats)
    return rows


def _encode(system: str, folder: str, device: str, texts: list[str]) -> Usage:
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "texts.json")
        file.write_text(json.dumps(texts))
        return fresh(_ENCODE[system], folder, device, str(file), setup=_READ_TEXTS)


def write_tiny_model(folder: str) -> int:
    """Write a BERT with random weights that reads digits, and return its dimension."""
    words = ["[PAD]", "[UNK]", *"0123456789"]
    vocabulary = {word: i for i, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    return config.hidden_size
