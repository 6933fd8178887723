"""The systems that are compared: sk_sentemb, sentence-transformers, onnxruntime."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import onnxruntime
import torch
from _common import OUTPUT
from sentence_transformers import SentenceTransformer
from torch import nn
from transformers import AutoModel

from sk_sentemb import SentenceEmbedder
from sk_sentemb.encoder import Encoder, l2_normalize
from sk_sentemb.encoder.packing.packs import make_packs
from sk_sentemb.encoder.tokenization.tokenizer import TokenizedTexts

OURS, PEER, ONNX = "sk_sentemb", "sentence-transformers", "onnxruntime"
REFERENCE = f"{PEER} float32"

Encode = Callable[[list[str]], np.ndarray]

# Tokens of a batch, padding included: what sk_sentemb takes on a processor.
_ONNX_BATCH_TOKENS = 2048


@dataclass(frozen=True)
class System:
    """A system that embeds texts, with its device and dtype."""

    name: str
    dtype: str
    device: str
    encode: Encode


def load_systems(folder: str, device: str, *, force_bfloat16: bool) -> tuple[list[System], Encoder]:
    """Load every system, and return the float32 model of sk_sentemb, which counts tokens."""

    def ours(dtype: str) -> SentenceEmbedder:
        return SentenceEmbedder(folder, device=device, dtype=dtype, cache=None).fit(["text"])

    encoder, auto = ours("float32").encoder_, ours("auto").encoder_.dtype
    print(f"dtype='auto' is {auto} here")
    dtypes = list(dict.fromkeys(["float32", auto, *(["bfloat16"] if force_bfloat16 else [])]))
    if "bfloat16" not in dtypes:
        print("skipped: bfloat16, which this device emulates (--bfloat16 measures it all the same)")
    systems = [System(f"{OURS} {d}", d, device, ours(d).transform) for d in dtypes]
    systems += [
        System(f"{PEER} {d}", d, device, _peer_encode(folder, device, d))
        for d in dtypes
        if d != "float16"
    ]
    if encoder.pooling == ("mean",):
        systems.append(System(f"{ONNX} float32", "float32", "cpu", _onnx_encode(folder, encoder)))
    else:
        print(f"skipped: {ONNX}, which is set up for mean pooling and not for {encoder.pooling}")
    return systems, encoder


def tokenize(encoder: Encoder, texts: list[str]) -> TokenizedTexts:
    """Tokenize as ``encoder`` does by default."""
    return encoder.tokenizer(
        texts,
        prompt=encoder.default_prompt,
        max_length=encoder.max_length,
        long_text="truncate",
    )


def _peer_encode(folder: str, device: str, dtype: str) -> Encode:
    # float32 is explicit: by default this library uses the dtype of the weights.
    model = SentenceTransformer(folder, device=device, model_kwargs={"dtype": dtype})
    return partial(model.encode, show_progress_bar=False)


def _onnx_encode(folder: str, encoder: Encoder) -> Encode:
    """Run the checkpoint in onnxruntime, with sk_sentemb's tokenizer and its batches by tokens."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(
        _export_onnx(folder), options, providers=["CPUExecutionProvider"]
    )

    def encode(texts: list[str]) -> np.ndarray:
        tokens = tokenize(encoder, texts)
        vectors = np.empty((len(texts), encoder.backbone.dim), dtype=np.float32)
        rows = np.arange(len(texts))
        for pack in make_packs(rows, tokens.lengths, _ONNX_BATCH_TOKENS, padded=True):
            real = np.arange(pack.lengths.max()) < pack.lengths[:, None]
            ids = np.zeros(real.shape, dtype=np.int64)
            ids[real], _ = tokens.select(pack.rows)
            inputs = {"input_ids": ids, "attention_mask": real.astype(np.int64)}
            (hidden,) = session.run(None, inputs)
            weights = (real / pack.lengths[:, None]).astype(np.float32)
            vectors[pack.rows] = (weights[:, None] @ hidden)[:, 0]
        return l2_normalize(vectors)

    return encode


def _export_onnx(folder: str) -> str:
    path = str(OUTPUT / "encode.onnx")
    model = _HiddenStates(AutoModel.from_pretrained(folder, dtype=torch.float32)).eval()
    ids = torch.ones(2, 8, dtype=torch.long)
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0  # with nothing to mask, tracing might leave the mask out
    names = ["input_ids", "attention_mask", "hidden"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (ids, mask),
            path,
            input_names=names[:2],
            output_names=names[2:],
            dynamic_axes={name: {0: "texts", 1: "tokens"} for name in names},
            dynamo=False,
        )
    return path


class _HiddenStates(nn.Module):
    """A transformers model with two inputs and one output, as tracing wants it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        output = self.model(input_ids=input_ids, attention_mask=attention_mask)
        return output.last_hidden_state
