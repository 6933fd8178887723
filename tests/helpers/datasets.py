"""Training datasets without X and y."""

import numpy as np

from sk_sentemb._training.dataset import TrainingDataset
from sk_sentemb.losses import DataFormat


def make_dataset(data_format, *, n=None, target=None, query_ids=None):
    """Return a dataset of n different texts."""
    n = len(target) if n is None else n
    return TrainingDataset(
        format=data_format,
        texts=[str(i) for i in range(n)],
        text_ids=np.arange(n)[None],
        row_ids=np.arange(n),
        n_training_rows=n,
        target=None if target is None else np.asarray(target),
        classes=np.unique(target) if data_format == DataFormat.LABELS else None,
        query_ids=query_ids,
    )
