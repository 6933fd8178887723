"""Tiny random sentence-transformers checkpoints, made of the real transformers classes.

The weights are random but large, so that an embedding depends on every token, its position and
its neighbours: a reader that gets any of these wrong is far from the truth, not close to it.
"""

import json
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import transformers as hf
from safetensors.torch import load_file, save_file
from tokenizers import ByteLevelBPETokenizer, Tokenizer, models, processors

HIDDEN = 32
MAX_TOKENS = 256

TEXTS = [
    "Harbour",
    "",
    "the ferry passed the pier",
    "the pier passed the ferry",
    "Nobody remembers the storm?",
    "?!... -- (;)",
    "Crème brûlée, smörgåsbord, naïve Ångström",
    "東京 и Москва 🙂 über",
    "The two brothers mend nets, and the two brothers argue about the nets.",
    "McDonald's PDF v2.0 costs $3.50; e-mail: someone@example.org (24/7)",
    "Tourists buy ice from the market in winter, which is a strange thing to do, but the ice is "
    "cheap then and the market is empty, so nobody argues with them.",
    "The harbour town wakes slowly: gulls first, then the ferries, then the fish market with its "
    "crates of ice and shouting. By noon the tide has turned, the tourists have found the shade, "
    "and nobody remembers the storm that took the old pier in the winter of 1987, except the two "
    "brothers who still mend nets beside it, arguing every single day about whose fault it was.",
]
# Without one text, so that there are unknown letters.
_CORPUS = " ".join(TEXTS[:7] + TEXTS[8:])


def _pieces(begin: str, inside: str) -> list[str]:
    """Give letters, endings and half of the words: a vocabulary that splits the other half.

    It is not trained, because training gives another vocabulary every time.
    """
    text = f"{_CORPUS} {_CORPUS.lower()}"
    words = sorted(set(re.findall(r"\w+", text)))
    letters = sorted(set(text) - {" "})
    endings = sorted({word[-2:] for word in words})
    begins = [begin + piece for piece in letters + words[::2]]
    return list(dict.fromkeys(begins + [inside + piece for piece in letters + endings]))


def _wordpiece(special_tokens: tuple[str, ...]) -> Tokenizer:
    pieces = [*special_tokens, *_pieces("", "##")]
    return Tokenizer(models.WordPiece({piece: idx for idx, piece in enumerate(pieces)}))


def _unigram(special_tokens: tuple[str, ...]) -> Tokenizer:
    # No two scores are the same, or ties would decide how a word is split.
    pieces = [(piece, -8 - idx / 100) for idx, piece in enumerate(["▁", *_pieces("▁", "")])]
    return Tokenizer(models.Unigram([*((token, 0.0) for token in special_tokens), *pieces], 0))


def _bpe(special_tokens: tuple[str, ...]) -> ByteLevelBPETokenizer:
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(
        [_CORPUS], vocab_size=400, special_tokens=list(special_tokens), show_progress=False
    )
    return tokenizer


# Special tokens in the order of their ids.
_BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_MPNET = ("<s>", "<pad>", "</s>", "[UNK]", "<mask>")
_ROBERTA = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
_CAMEMBERT = ("<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED", "<s>", "</s>")
_ALBERT = ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")
_DEBERTA = ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]")
_LLAMA = ("<s>", "</s>")

_CASED = {"do_lower_case": False}  # so that a checkpoint's own do_lower_case shows
_MODERN_NAMES = {f"{token.strip('[]').lower()}_token": token for token in _BERT}
_LLAMA_NAMES = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>"}
_LLAMA_LEFT = {**_LLAMA_NAMES, "padding_side": "left"}
_TOKENIZERS: dict[str, tuple[Any, ...]] = {
    "bert": (hf.BertTokenizer, _wordpiece, _BERT, _CASED),
    "bert-multilingual": (hf.XLMRobertaTokenizer, _unigram, _ROBERTA, {}),
    "roberta": (hf.RobertaTokenizer, _bpe, _ROBERTA, {}),
    "xlm-roberta": (hf.XLMRobertaTokenizer, _unigram, _ROBERTA, {}),
    "camembert": (hf.CamembertTokenizer, _unigram, _CAMEMBERT, {}),
    "distilbert": (hf.DistilBertTokenizer, _wordpiece, _BERT, _CASED),
    "mpnet": (hf.MPNetTokenizer, _wordpiece, _MPNET, {}),
    "albert": (hf.AlbertTokenizer, _unigram, _ALBERT, {}),
    "electra": (hf.BertTokenizer, _wordpiece, _BERT, {}),
    "deberta-v2": (hf.DebertaV2Tokenizer, _unigram, _DEBERTA, {}),
    "modernbert": (hf.PreTrainedTokenizerFast, _bpe, _BERT, _MODERN_NAMES),
    "t5": (hf.T5Tokenizer, _unigram, ("<pad>", "</s>", "<unk>"), {"extra_ids": 4}),
    "qwen3": (hf.Qwen2Tokenizer, _bpe, ("<|endoftext|>",), {"padding_side": "left"}),
    "llama": (hf.PreTrainedTokenizerFast, _bpe, _LLAMA, _LLAMA_NAMES),
    "mistral": (hf.PreTrainedTokenizerFast, _bpe, _LLAMA, _LLAMA_LEFT),
}
# What surrounds a text, or two, where the tokenizer's class does not say.
_TEMPLATES = {
    "modernbert": ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]"),
    "qwen3": ("$A <|endoftext|>", "$A $B"),
    "llama": ("<s> $A", "<s> $A <s>:1 $B:1"),
    "mistral": ("<s> $A", "$A $B"),
}


def make_tokenizer(backbone: str, folder: Path) -> hf.PreTrainedTokenizerFast:
    """Save the tokenizer that goes with a backbone into `folder`."""
    tokenizer_class, vocabulary, special_tokens, options = _TOKENIZERS[backbone]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary(special_tokens).save(str(folder / "tokenizer.json"))
    tokenizer = tokenizer_class.from_pretrained(folder, **options, model_max_length=MAX_TOKENS)
    if template := _TEMPLATES.get(backbone):
        ids = [(token, idx) for idx, token in enumerate(special_tokens)]
        single, pair = template
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single=single, pair=pair, special_tokens=ids
        )
    tokenizer.save_pretrained(folder)
    return tokenizer


def _build(
    model: type[hf.PreTrainedModel], tokenizer: hf.PreTrainedTokenizerFast, **options: Any
) -> hf.PreTrainedModel:
    names = ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id")
    tokens = {name: getattr(tokenizer, name) for name in names}
    sizes = {"vocab_size": len(tokenizer), "num_hidden_layers": 2, "num_attention_heads": 4}
    return model(model.config_class(**sizes, **tokens, **options))


_SIZES = {"hidden_size": HIDDEN, "intermediate_size": 64, "max_position_embeddings": MAX_TOKENS}
# The RoBERTa family counts positions from the pad token's id + 1.
_SHIFTED = {**_SIZES, "max_position_embeddings": MAX_TOKENS + 2}
_DISTILBERT = {"dim": HIDDEN, "hidden_dim": 64, "max_position_embeddings": MAX_TOKENS}
_DISENTANGLED = {
    "relative_attention": True,
    "position_buckets": 8,
    "pos_att_type": ["p2c", "c2p"],
    "position_biased_input": False,
    "share_att_key": True,
    "norm_rel_ebd": "layer_norm",
    "type_vocab_size": 0,
}
_LOCAL = {"local_attention": 16, "global_attn_every_n_layers": 2}
_GROUPED = {**_SIZES, "num_key_value_heads": 2, "head_dim": 8}
BACKBONES: dict[str, Callable[..., hf.PreTrainedModel]] = {
    "bert": partial(_build, hf.BertModel, **_SIZES),
    "bert-multilingual": partial(_build, hf.BertModel, **_SIZES),
    "roberta": partial(_build, hf.RobertaModel, **_SHIFTED, type_vocab_size=1),
    "xlm-roberta": partial(_build, hf.XLMRobertaModel, **_SHIFTED, type_vocab_size=1),
    "camembert": partial(_build, hf.CamembertModel, **_SHIFTED, type_vocab_size=1),
    "distilbert": partial(_build, hf.DistilBertModel, **_DISTILBERT),
    "mpnet": partial(_build, hf.MPNetModel, **_SHIFTED),
    "albert": partial(_build, hf.AlbertModel, **_SIZES, embedding_size=16),
    "electra": partial(_build, hf.ElectraModel, **_SIZES, embedding_size=16),
    "deberta-v2": partial(_build, hf.DebertaV2Model, **_SIZES, **_DISENTANGLED),
    "modernbert": partial(_build, hf.ModernBertModel, **_SIZES, **_LOCAL),
    "t5": partial(_build, hf.T5EncoderModel, d_model=HIDDEN, d_kv=8, d_ff=64),
    "qwen3": partial(_build, hf.Qwen3Model, **_GROUPED),
    "llama": partial(_build, hf.LlamaModel, **_GROUPED),
    "mistral": partial(_build, hf.MistralModel, **_GROUPED, sliding_window=8),
}
DECODERS = ("qwen3", "llama", "mistral")

_Random = Callable[..., torch.Tensor]
# A module's class, its config.json and its tensors.
_Module = tuple[str, dict[str, Any] | None, dict[str, torch.Tensor]]
# Old releases name the folder of Normalize in modules.json, but never make it.
_NORMALIZE: _Module = ("Normalize", None, {})


def _random(seed: int) -> _Random:
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: 0.3 * torch.randn(shape, generator=generator)


def _draw(model: hf.PreTrainedModel, random: _Random) -> None:
    """Draw every weight of a model again."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            is_scale = weight.ndim == 1 and name.endswith("weight")
            weight.copy_(random(*weight.shape) + is_scale)


def _save_transformer(
    folder: Path, backbone: str, random: _Random, dtype: torch.dtype, **config: Any
) -> tuple[hf.PreTrainedModel, hf.PreTrainedTokenizerFast]:
    tokenizer = make_tokenizer(backbone, folder)
    # Building a model draws from the global generator; every weight is then drawn again.
    with torch.random.fork_rng(devices=[]):
        model = BACKBONES[backbone](tokenizer)
    _draw(model, random)
    model.config.update(config)
    model.to(dtype).save_pretrained(folder)
    return model, tokenizer


def _save_classifier(
    folder: Path, backbone: str, random: _Random, dtype: torch.dtype, **config: Any
) -> None:
    tokenizer = make_tokenizer(backbone, folder)
    with torch.random.fork_rng(devices=[]):
        settings = BACKBONES[backbone](tokenizer).config
        settings.update(config)
        model = hf.AutoModelForSequenceClassification.from_config(settings)
    _draw(model, random)
    model.to(dtype).save_pretrained(folder)


def _write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2))


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all files below a folder, by relative path."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def edit(path: Path, change: Callable[[Any], object]) -> None:
    """Change the content of a JSON file in place."""
    content = json.loads(path.read_text())
    change(content)
    _write_json(path, content)


def _to_bin(folder: Path) -> None:
    for path in folder.rglob("model.safetensors"):
        torch.save(load_file(path), path.with_name("pytorch_model.bin"))
        path.unlink()


def _pooling(modes: tuple[str, ...], include_prompt: bool, style: str) -> _Module:
    if style == "new":
        config = {"embedding_dimension": HIDDEN, "pooling_mode": list(modes)}
    else:
        config = {
            "word_embedding_dimension": HIDDEN,
            "pooling_mode_cls_token": "cls" in modes,
            "pooling_mode_max_tokens": "max" in modes,
            "pooling_mode_mean_tokens": "mean" in modes,
            "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens" in modes,
            "pooling_mode_weightedmean_tokens": "weightedmean" in modes,
            "pooling_mode_lasttoken": "lasttoken" in modes,
        }
    return "Pooling", {**config, "include_prompt": include_prompt}, {}


def _dense(in_features: int, config: dict[str, Any], random: _Random) -> _Module:
    activation = "torch.nn.modules.activation.Tanh"
    config = {"in_features": in_features, "bias": True, "activation_function": activation, **config}
    out_features = config["out_features"]
    weights = {"linear.weight": random(out_features, in_features)}
    if config["bias"]:
        weights["linear.bias"] = random(out_features)
    if config.get("use_residual") and in_features != out_features:
        weights["residual.weight"] = random(out_features, in_features)
    return "Dense", config, weights


def _write_modules(folder: Path, modules: list[_Module], dtype: torch.dtype) -> None:
    listed = []
    for idx, (kind, config, weights) in enumerate(modules):
        path = "" if kind == "Transformer" else f"{idx}_{kind}"
        type_ = f"sentence_transformers.models.{kind}"
        listed.append({"idx": idx, "name": str(idx), "path": path, "type": type_})
        if config is not None:
            _write_json(folder / path / "config.json", config)
        if weights:
            (folder / path).mkdir(exist_ok=True)
            cast = {name: weight.to(dtype) for name, weight in weights.items()}
            save_file(cast, folder / path / "model.safetensors")
    _write_json(folder / "modules.json", listed)


def _save_again(folder: Path, kind: str = "SentenceTransformer", **options: Any) -> None:
    """Let the installed sentence-transformers replace a folder by its own save of it."""
    import sentence_transformers

    with TemporaryDirectory() as saved, torch.random.fork_rng(devices=[]):
        read = getattr(sentence_transformers, kind)
        model = read(str(folder), device="cpu", local_files_only=True, **options)
        model.save_pretrained(saved, create_model_card=False)
        shutil.rmtree(folder)
        shutil.copytree(saved, folder)


def make_checkpoint(
    folder: Path,
    backbone: str = "bert",
    *,
    pooling: str | tuple[str, ...] = "mean",
    normalize: bool = True,
    dense: dict[str, Any] | None = None,
    layer_norm: bool = False,
    dropout: bool = False,
    weighted_layers: bool = False,
    include_prompt: bool = True,
    prompts: dict[str, str] | None = None,
    default_prompt_name: str | None = None,
    max_seq_length: int | None = MAX_TOKENS,
    do_lower_case: bool = False,
    style: str = "old",
    weights: str = "safetensors",
    dtype: str = "float32",
    seed: int = 0,
) -> Path:
    """Write a checkpoint as sentence-transformers 2 ("old") or the installed one ("new") saves it.

    `dense` holds keys of the Dense module's config; only `out_features` must be there.
    """
    random = _random(seed)
    number = getattr(torch, dtype)
    # First, so that a seed gives the same backbone whatever follows it.
    _save_transformer(folder, backbone, random, number, output_hidden_states=weighted_layers)
    modes = (pooling,) if isinstance(pooling, str) else pooling
    width = HIDDEN * len(modes)
    modules: list[_Module] = [("Transformer", None, {})]
    if weighted_layers:
        layers = {"word_embedding_dimension": HIDDEN, "layer_start": 1, "num_hidden_layers": 2}
        modules.append(("WeightedLayerPooling", layers, {"layer_weights": 1 + random(2)}))
    modules.append(_pooling(modes, include_prompt, style))
    if dropout:
        modules.append(("Dropout", {"dropout": 0.5}, {}))
    if layer_norm:
        norm = {"norm.weight": 1 + random(width), "norm.bias": random(width)}
        modules.append(("LayerNorm", {"dimension": width}, norm))
    if dense:
        modules.append(_dense(width, dense, random))
    if normalize:
        modules.append(_NORMALIZE)

    _write_modules(folder, modules, number)
    limits = {"max_seq_length": max_seq_length, "do_lower_case": do_lower_case}
    _write_json(folder / "sentence_bert_config.json", limits)
    known = {
        "__version__": {"sentence_transformers": "2.7.0"},
        "prompts": prompts or {},
        "default_prompt_name": default_prompt_name,
    }
    _write_json(folder / "config_sentence_transformers.json", known)
    if style == "new":
        _save_again(folder)
    if weights == "bin":
        _to_bin(folder)
    return folder


def make_static_checkpoint(
    folder: Path, dim: int = HIDDEN, *, normalize: bool = False, seed: int = 0
) -> Path:
    """Write a StaticEmbedding: a table of token vectors and no backbone."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as scratch:
        tokenizer = make_tokenizer("electra", Path(scratch)).backend_tokenizer
    table = {"embedding.weight": _random(seed)(tokenizer.get_vocab_size(), dim)}
    modules: list[_Module] = [("StaticEmbedding", None, table)]
    _write_modules(folder, modules + [_NORMALIZE] * normalize, torch.float32)
    tokenizer.save(str(folder / "0_StaticEmbedding" / "tokenizer.json"))
    return folder


def make_plain_checkpoint(
    folder: Path, backbone: str = "bert", *, weights: str = "bin", seed: int = 0
) -> Path:
    """Write a transformers checkpoint without modules.json.

    With "bin" a WordPiece backbone looks as the early ones do (BioBERT, SciBERT): vocab.txt is the
    whole tokenizer, and the weights are those of a pretraining model, head and buffers included.
    """
    model, tokenizer = _save_transformer(folder, backbone, _random(seed), torch.float32)
    if weights != "bin":
        return folder
    _to_bin(folder)
    if isinstance(tokenizer.backend_tokenizer.model, models.WordPiece):
        vocabulary = tokenizer.get_vocab()
        (folder / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.__getitem__)))
        (folder / "tokenizer.json").unlink()
        (folder / "tokenizer_config.json").unlink()
        prefix = model.base_model_prefix
        state = {f"{prefix}.{name}": weight for name, weight in model.state_dict().items()}
        state[f"{prefix}.embeddings.position_ids"] = torch.arange(MAX_TOKENS)[None]
        state["cls.predictions.bias"] = torch.zeros(len(vocabulary))
        torch.save(state, folder / "pytorch_model.bin")
    return folder


def make_cross_encoder(
    folder: Path,
    backbone: str = "bert",
    *,
    n_labels: int = 1,
    labels: tuple[str, ...] | None = None,
    activation: str | None = None,
    style: str = "old",
    prompts: dict[str, str] | None = None,
    default_prompt_name: str | None = None,
    max_length: int = MAX_TOKENS,
    dtype: str = "float32",
    seed: int = 0,
    **config: Any,
) -> Path:
    """Write a sequence classifier that reads pairs.

    It is as transformers saves it ("plain"), or sentence-transformers before 4.0 ("old"), before 5.4
    ("5"), or the installed one ("new"). Only the last keeps prompts. `activation` is the name of a
    class of torch.nn, `labels` are names of the logits, and `config` are more keys of config.json.
    """
    named = labels or tuple(f"LABEL_{i}" for i in range(n_labels))
    config["num_labels"] = len(named)
    config["id2label"] = dict(enumerate(named))
    config["label2id"] = {name: i for i, name in enumerate(named)}
    function: Any = getattr(torch.nn, activation)() if activation else None
    path = f"{type(function).__module__}.{activation}" if activation else None
    if path and style == "old":
        config["sbert_ce_default_activation_function"] = path
    if path and style == "5":
        config["sentence_transformers"] = {"activation_fn": path, "version": "5.1.0"}
    number = getattr(torch, dtype)
    _save_classifier(folder, backbone, _random(seed), number, **config)
    edit(folder / "tokenizer_config.json", lambda c: c.update(model_max_length=max_length))
    if style == "new":
        _save_again(
            folder,
            "CrossEncoder",
            prompts=prompts,
            default_prompt_name=default_prompt_name,
            activation_fn=function,
            model_kwargs={"dtype": number},
        )
    return folder
