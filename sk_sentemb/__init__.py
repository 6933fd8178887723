"""Sentence embeddings as scikit-learn estimators.

The public names are imported when they are first used, so that ``import sk_sentemb`` loads neither
torch nor transformers.
"""

from importlib import import_module, metadata

__version__ = metadata.version("sk-sentemb")

_MODULE_OF = {
    "CrossEncoderClassifier": "sk_sentemb.cross_encoder",
    "CrossEncoderScorer": "sk_sentemb.cross_encoder",
    "Encoder": "sk_sentemb.encoder",
    "FineTuner": "sk_sentemb._training",
    "ImageEmbedder": "sk_sentemb.image",
    "PairFeatures": "sk_sentemb.pair_features",
    "PairSimilarity": "sk_sentemb.pair_features",
    "SemanticIndex": "sk_sentemb.retrieval",
    "SemanticRetriever": "sk_sentemb.retrieval",
    "SentenceClassifier": "sk_sentemb.end_to_end",
    "SentenceEmbedder": "sk_sentemb.embedder",
    "SentenceRegressor": "sk_sentemb.end_to_end",
    "TextCleaner": "sk_sentemb.preprocessing",
    "load_encoder": "sk_sentemb.encoder",
    "make_multimodal_transformer": "sk_sentemb.preprocessing",
    "mine_hard_negatives": "sk_sentemb.hard_negatives",
    "mine_translations": "sk_sentemb.retrieval",
    "release_models": "sk_sentemb.encoder",
    "text_column_selector": "sk_sentemb.preprocessing",
}

__all__ = sorted(["__version__", *_MODULE_OF])


def __getattr__(name: str) -> object:
    if name in _MODULE_OF:
        value = getattr(import_module(_MODULE_OF[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
