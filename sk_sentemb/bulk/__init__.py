"""Larger-than-memory data: from files to files, shard by shard, resumable at any time."""

try:
    from .embedded_dataset import EmbeddedDataset, embed_dataset
except ModuleNotFoundError as error:
    if error.name != "pyarrow":
        raise
    raise ImportError(
        'sk_sentemb.bulk reads and writes with pyarrow: pip install "sk-sentemb[bulk]"'
    ) from error

__all__ = ["EmbeddedDataset", "embed_dataset"]
