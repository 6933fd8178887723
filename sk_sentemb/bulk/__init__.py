"""More text than memory: from files to files, shard by shard, resumable at any instant."""

try:
    import pyarrow  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError(
        'sk_sentemb.bulk reads and writes with pyarrow: pip install "sk-sentemb[bulk]"'
    ) from error

from .dataset import EmbeddedDataset, embed_dataset

__all__ = ["EmbeddedDataset", "embed_dataset"]
