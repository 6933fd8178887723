"""embed_dataset: files of text in, files of vectors out."""

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
from .array_writer import ArrayFile
from .overlap import check_target
from .row_embedding import encoding_params, prepared
from .run import begin, embed_rest
from .shards import EMBEDDING, ShardFolder
from .source import open_source
from .source_files import Paths
from .target_lock import locked


@dataclass(frozen=True)
class EmbeddedDataset:
    """What :func:`embed_dataset` has written.

    Attributes
    ----------
    path : Path
        The folder of Parquet files, or the ``.npy`` file.
    n_rows : int
        How many rows it has.
    n_dimensions : int
        How many numbers a row's embedding has, of all columns of text together.
    n_resumed : int
        How many rows earlier calls had finished; all of them, if there was nothing left to do.
    n_truncated : int
        How many texts were longer than the model reads and lost their ends.
    n_missing : int
        How many cells had no text.
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
    """Embed more text than fits into memory, from files to files.

    Rows keep their order. What is finished stays finished, however the process ends: the same call
    again goes on where it ended, and what it writes is equal, byte for byte, to what a call without
    a break writes on the same machine. A shard that has been damaged
    since is found by its checksum, and embedded again with a warning.

    Parameters
    ----------
    embedder : SentenceEmbedder
        Fitted or not; it is not changed. Its parameters say what becomes of long and missing texts
        and, with ``n_jobs``, how many workers embed a shard.
    source : str, path-like, sequence of these or pyarrow.dataset.Dataset
        A file, a folder, a pattern such as ``"logs/*.csv.gz"``, or a list of files: Parquet, CSV,
        TSV or JSON lines in UTF-8. Files are read in the order of their paths, those of a list in
        the order of the list.
    target : str or path-like
        A folder, which gets Parquet files with the kept columns and a column ``"embedding"``; or the
        name of a ``.npy`` file, whose kept columns go into a ``.parquet`` file of the same name.
    column : str or sequence of str
        The column of text. Several are embedded each by itself, their vectors side by side.
    keep : str or sequence of str, default=()
        Columns to carry along, such as ids and labels, or ``"all"``.
    rows_per_shard : int, default=10000
        How many rows are in memory at a time, make a Parquet file, and are lost when the process is
        killed. More are better where texts repeat, because each is embedded once in a shard, and for
        clusters.
    format : {"auto", "parquet", "csv", "tsv", "json"}, default="auto"
        What the files are; ``"auto"`` goes by their names.
    overwrite : bool, default=False
        Whether to start again if ``target`` is from another call of this function.
    progress : bool, default=True
        Whether to show a bar on standard error.

    Returns
    -------
    EmbeddedDataset
        Where it is, and what has to be said about its rows.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileExistsError
        If ``target`` holds files that this function did not write.
    NotFittedError
        If ``embedder`` has a ``fine_tuner`` and is not fitted.
    BlockingIOError
        If another process is writing ``target``.
    ValueError
        If a column is missing or a file cannot be read; if a row has no text or too much of it and
        ``embedder`` does not allow that; if ``target`` was begun with another source, model or
        settings; if ``source`` is where ``target`` writes and removes files.

    See Also
    --------
    sk_sentemb.SentenceEmbedder : Embeds what fits into memory.

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
    ...     SentenceEmbedder(), folder / "notes.csv", folder / "vectors", column="note",
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
    embedder = prepared(embedder, column)
    task = {"columns": columns, **encoding_params(embedder)}
    place = _open_place(path, rows.schema, keep, task)
    asked = {
        "source": rows.stamps,
        "keep": {field.name: str(field.type) for field in place.kept},
        "rows_per_shard": int(rows_per_shard),
        **task,
    }
    place.lock.parent.mkdir(parents=True, exist_ok=True)
    with locked(place.lock, path):
        manifest = begin(place, rows, asked, overwrite=overwrite)
        manifest, n_resumed = embed_rest(embedder, rows, manifest, place, progress=progress)
    totals = manifest.totals()
    embedder._warn(EmbeddedRows(np.empty(0), *totals[1:]))
    return EmbeddedDataset(
        path=path,
        n_rows=totals.n_rows,
        n_dimensions=place.n_dimensions,
        n_resumed=n_resumed,
        n_truncated=totals.n_truncated,
        n_missing=totals.n_missing,
    )


def _names(parameter: str, value: str | Sequence[str]) -> list[str]:
    names = [value] if isinstance(value, str) else list(value)
    if len(set(names)) < len(names) or (not names and parameter == "column"):
        raise ValueError(f"{parameter}={value!r}: pass names of columns, each once.")
    return names


def _open_place(
    path: Path, schema: pa.Schema, keep: str | list[str], task: dict[str, Any]
) -> ShardFolder | ArrayFile:
    metadata = {"sk_sentemb": json.dumps({"version": __version__, **task})}
    names = schema.names if keep == "all" else keep
    kept = pa.schema([schema.field(name) for name in names], metadata=metadata)
    n_dimensions = len(task["columns"]) * task["embedding_dim"]
    if path.suffix == ".npy":
        return ArrayFile(path, kept, n_dimensions)
    if path.is_file():
        raise FileExistsError(f"target={str(path)!r} is a file; pass a folder or a name in .npy.")
    if EMBEDDING in names:
        raise ValueError(
            f"keep has a column {EMBEDDING!r}, which is the name of the vectors. Rename it in the "
            "source, or pass keep without it."
        )
    return ShardFolder(path, kept, n_dimensions)
