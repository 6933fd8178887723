"""One run: start or resume it, then embed shard after shard."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa

from .._progress import progress_bar
from .._warn import warn
from ..embedder import SentenceEmbedder
from ..exceptions import CorruptShardWarning
from .array_writer import ArrayWriter
from .manifest import Counts, Manifest, check_same, read_manifest
from .overlap import check_no_overlap
from .parquet_writer import ParquetWriter, Shard
from .row_embedding import embed_rows
from .source import Source

Writer = ParquetWriter | ArrayWriter

# File names have five digits, so that their order is that of the rows.
MAX_SHARDS = 100_000


def begin(writer: Writer, rows: Source, settings: dict[str, Any], *, overwrite: bool) -> Manifest:
    """Return the manifest of the run to resume, or of a new one."""
    old = read_manifest(writer.manifest)
    own = set() if old is None else set(writer.own_files(old))
    sources = [file for part in rows.parts for file in part.local_files()]
    check_no_overlap(sources, *writer.writes(own))
    if old is not None and not overwrite:
        check_same(old.settings, settings, writer.path)
        return old
    if foreign := [file.name for file in writer.found_files() if file not in own]:
        raise FileExistsError(
            f"target={str(writer.path)!r} contains files that embed_dataset did not write: "
            f"{foreign[:3]}. Pass another target."
        )
    # Before anything is removed, because a source that cannot be read raises here.
    manifest = Manifest(settings, rows.count())
    if isinstance(writer, ParquetWriter) and manifest.n_shards > MAX_SHARDS:
        raise ValueError(
            f"rows_per_shard={settings['rows_per_shard']} gives {manifest.n_shards} files; pass a "
            f"larger value, for at most {MAX_SHARDS} files."
        )
    for file in own:
        file.unlink(missing_ok=True)
    manifest.write(writer.manifest)
    return manifest


def embed_rest(
    embedder: SentenceEmbedder,
    rows: Source,
    manifest: Manifest,
    writer: Writer,
    *,
    progress: bool,
) -> tuple[Manifest, int]:
    """Embed the shards that are unfinished or damaged."""
    writer.open(manifest)
    damaged = writer.damaged(manifest)
    if damaged:
        warn(
            f"{len(damaged)} of the {len(manifest.shards)} finished shards of {writer.path} are "
            "damaged; their rows are embedded again.",
            CorruptShardWarning,
        )
    size = manifest.settings["rows_per_shard"]
    read = partial(rows.tables, counts=manifest.n_rows, size=size)
    n_resumed = manifest.totals().n_rows - sum(manifest.shards[n].n_rows for n in damaged)
    n_rows = sum(manifest.n_rows)
    with progress_bar(
        n_rows, shown=progress, work="embedding", unit="row", initial=n_resumed
    ) as bar:
        for number, table in _pending_shards(read, rows.schema, manifest, damaged):
            first = number * size
            texts = table.select(manifest.settings["columns"])
            embedded = embed_rows(
                embedder, texts, first, partial(rows.describe_row, manifest.n_rows)
            )
            shard = Shard(number, first, table.select(writer.kept.names), embedded.rows)
            # In this order, every renamed shard is in the manifest, and everything in the manifest
            # is on the disk.
            digest = writer.write(shard)
            manifest = manifest.with_shard(number, Counts(len(table), *embedded[1:]), digest)
            manifest.write(writer.manifest)
            writer.publish(number)
            bar.update(len(table))
    if isinstance(writer, ArrayWriter):
        manifest = _finish_array(writer, manifest, partial(read, writer.kept, start=0))
    return manifest, n_resumed


def _pending_shards(
    read: Callable[..., Iterator[pa.Table]],
    schema: pa.Schema,
    manifest: Manifest,
    damaged: list[int],
) -> Iterator[tuple[int, pa.Table]]:
    """Yield the number and the rows of each damaged or unfinished shard."""
    for number in damaged:
        yield number, next(read(schema, start=number * manifest.settings["rows_per_shard"]))
    n_finished = len(manifest.shards)
    if n_finished < manifest.n_shards:
        yield from enumerate(read(schema, start=manifest.totals().n_rows), n_finished)


def _finish_array(
    writer: ArrayWriter, manifest: Manifest, read: Callable[[], Iterator[pa.Table]]
) -> Manifest:
    """Write the kept columns unless they are written, and rename the array."""
    if not writer.has_kept(manifest):
        manifest = replace(manifest, kept_digest=writer.write_kept(read()))
        manifest.write(writer.manifest)
    writer.finish()
    return manifest
