"""embed_dataset: from files of text to files of embeddings."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds

from .. import __version__
from ..embedder import EmbeddedRows, SentenceEmbedder
from .array_writer import ArrayWriter
from .overlap import check_target
from .parquet_writer import EMBEDDING, ParquetWriter
from .row_embedding import encoding_params, prepare_embedder
from .run import begin, embed_rest
from .source import open_source
from .source_files import Paths
from .target_lock import locked


@dataclass(frozen=True)
class EmbeddedDataset:
    """Location and summary of the output of :func:`embed_dataset`.

    Attributes
    ----------
    path : Path
        The folder of Parquet files, or the ``.npy`` file.
    n_rows : int
        Number of rows.
    n_dimensions : int
        Number of dimensions of a row, over all text columns.
    n_resumed : int
        Number of rows that earlier calls had finished.
    n_truncated : int
        Number of texts that were truncated.
    n_missing : int
        Number of cells without text.
    """

    path: Path
    n_rows: int
    n_dimensions: int
    n_resumed: int
    n_truncated: int
    n_missing: int


def embed_dataset(
    embedder: SentenceEmbedder,
    source: Paths | ds.Dataset,
    target: str | os.PathLike[str],
    *,
    column: str | Sequence[str],
    keep: str | Sequence[str] = (),
    rows_per_shard: int = 10_000,
    format: str = "auto",
    overwrite: bool = False,
    progress: bool = True,
) -> EmbeddedDataset:
    """Embed larger-than-memory data, from files to files.

    Rows keep their order. If the process ends early, the same call resumes after the last finished
    shard, and its output is identical, byte for byte, to that of an uninterrupted call on the same
    machine. Damaged shards are detected by their checksum, and embedded again with a warning.

    Parameters
    ----------
    embedder : SentenceEmbedder
        Embedder, fitted or not, which is not changed. Its parameters control how long and missing
        texts are handled and, with ``n_jobs``, how many workers embed a shard.
    source : str, path-like, sequence of these or pyarrow.dataset.Dataset
        Input in Parquet, or in CSV, TSV or JSON lines in UTF-8:

        - a file, a folder, or a pattern such as ``"logs/*.csv.gz"``; files are read in the order of
          their paths;
        - a list of files, which are read in its order;
        - a pyarrow Dataset.
    target : str or path-like
        Output:

        - a folder, for Parquet files with the kept columns and a column ``"embedding"``;
        - the name of a ``.npy`` file; the kept columns are written to a ``.parquet`` file of the same
          name.
    column : str or sequence of str
        Text column. Several columns are embedded one by one, and their embeddings concatenated.
    keep : str or sequence of str, default=()
        Columns to copy to the output, such as ids and labels, or ``"all"``.
    rows_per_shard : int, default=10000
        Number of rows of a shard: those in memory at once and in one Parquet file, and at most those
        to embed again after an interruption. Larger shards are faster where texts repeat, because
        each text is embedded once per shard, and on clusters.
    format : {"auto", "parquet", "csv", "tsv", "json"}, default="auto"
        Format of the files; ``"auto"`` infers it from their names.
    overwrite : bool, default=False
        Whether to replace the output of an earlier call of this function.
    progress : bool, default=True
        Whether to show a progress bar on standard error.

    Returns
    -------
    EmbeddedDataset
        Location and summary of the output.

    Raises
    ------
    FileNotFoundError
        If the source has no files.
    FileExistsError
        If ``target`` contains files that this function did not write.
    NotFittedError
        If ``embedder`` has a ``fine_tuner`` and is not fitted.
    BlockingIOError
        If another process is writing ``target``.
    ValueError
        If a column is missing or a file cannot be read; if a text is missing or too long and
        ``embedder`` raises for it; if ``target`` was created from another source, with another model
        or other settings; if ``target`` would overwrite files of ``source``.

    See Also
    --------
    sk_sentemb.SentenceEmbedder : Embed texts that fit into memory.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import pandas as pd
    >>> from sk_sentemb import SentenceEmbedder
    >>> from sk_sentemb.bulk import embed_dataset
    >>> scratch = TemporaryDirectory()
    >>> folder = Path(scratch.name)
    >>> notes = pd.DataFrame({"id": [7, 8], "note": ["The cat sleeps.", "Stocks fell."]})
    >>> notes.to_csv(folder / "notes.csv", index=False)
    >>> done = embed_dataset(
    ...     SentenceEmbedder(), folder / "notes.csv", folder / "embeddings", column="note",
    ...     keep=["id"], progress=False,
    ... )
    >>> done.n_rows, done.n_dimensions
    (2, 384)
    >>> pd.read_parquet(done.path)["id"].tolist()
    [7, 8]
    >>> scratch.cleanup()
    """
    if not isinstance(rows_per_shard, Integral) or rows_per_shard < 1:
        raise ValueError(f"rows_per_shard={rows_per_shard!r}: pass a positive int.")
    path = Path(target).expanduser()
    check_target(path, source)
    columns = _names("column", column)
    keep = keep if keep == "all" else _names("keep", keep)
    rows = open_source(source, format, columns, keep)
    embedder = prepare_embedder(embedder, column)
    task = {"columns": columns, **encoding_params(embedder)}
    writer = _open_writer(path, rows.schema, keep, task)
    settings = {
        "source": rows.fingerprints,
        "keep": {field.name: str(field.type) for field in writer.kept},
        "rows_per_shard": int(rows_per_shard),
        **task,
    }
    writer.lock.parent.mkdir(parents=True, exist_ok=True)
    with locked(writer.lock, path):
        manifest = begin(writer, rows, settings, overwrite=overwrite)
        manifest, n_resumed = embed_rest(embedder, rows, manifest, writer, progress=progress)
    totals = manifest.totals()
    embedder._warn_about(EmbeddedRows(np.empty(0), *totals[1:]))
    return EmbeddedDataset(
        path=path,
        n_rows=totals.n_rows,
        n_dimensions=writer.n_dimensions,
        n_resumed=n_resumed,
        n_truncated=totals.n_truncated,
        n_missing=totals.n_missing,
    )


def _names(parameter: str, value: str | Sequence[str]) -> list[str]:
    names = [value] if isinstance(value, str) else list(value)
    if len(set(names)) < len(names) or (not names and parameter == "column"):
        raise ValueError(f"{parameter}={value!r}: pass column names, each once.")
    return names


def _open_writer(
    path: Path, schema: pa.Schema, keep: str | list[str], task: dict[str, Any]
) -> ParquetWriter | ArrayWriter:
    metadata = {"sk_sentemb": json.dumps({"version": __version__, **task})}
    names = schema.names if keep == "all" else keep
    kept = pa.schema([schema.field(name) for name in names], metadata=metadata)
    n_dimensions = len(task["columns"]) * task["embedding_dim"]
    if path.suffix == ".npy":
        return ArrayWriter(path, kept, n_dimensions)
    if path.is_file():
        raise FileExistsError(f"target={str(path)!r} is a file; pass a folder or a name in .npy.")
    if EMBEDDING in names:
        raise ValueError(
            f"keep has a column {EMBEDDING!r}, the name of the column of embeddings. Rename it in the "
            "source, or pass keep without it."
        )
    return ParquetWriter(path, kept, n_dimensions)
