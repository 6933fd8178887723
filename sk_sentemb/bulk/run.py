"""One run: begun anew or where an earlier one ended, then shard after shard."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa

from .._progress import progress_bar
from .._warn import warn
from ..embedder import SentenceEmbedder
from ..exceptions import CorruptShardWarning
from .array_writer import ArrayFile
from .manifest import Counts, Manifest, check_same, read_manifest
from .overlap import check_no_overlap
from .row_embedding import embed_rows
from .shards import Shard, ShardFolder
from .source import Source

Place = ShardFolder | ArrayFile

# Their names have five digits, so that their order is that of the rows.
MOST_SHARDS = 100_000


def begin(place: Place, rows: Source, asked: dict[str, Any], *, overwrite: bool) -> Manifest:
    """Return the manifest of the run that is to be resumed, or of a new one."""
    old = read_manifest(place.manifest)
    own = set() if old is None else set(place.own_files(old))
    sources = [file for part in rows.parts for file in part.local_files()]
    check_no_overlap(sources, *place.writes(own))
    if old is not None and not overwrite:
        check_same(old.asked, asked, place.path)
        return old
    if foreign := [file.name for file in place.found_files() if file not in own]:
        raise FileExistsError(
            f"target={str(place.path)!r}: {foreign[:3]} are in the way, which no call of this "
            "function wrote; pass another target."
        )
    # Before anything is removed: a source that cannot be read shows itself here.
    manifest = Manifest(asked, rows.count())
    if isinstance(place, ShardFolder) and manifest.n_shards > MOST_SHARDS:
        raise ValueError(
            f"rows_per_shard={manifest.asked['rows_per_shard']} makes {manifest.n_shards} files; pass "
            f"a larger one, for {MOST_SHARDS} files at most."
        )
    for file in own:
        file.unlink(missing_ok=True)
    manifest.write(place.manifest)
    return manifest


def embed_rest(
    embedder: SentenceEmbedder,
    rows: Source,
    manifest: Manifest,
    place: Place,
    *,
    progress: bool,
) -> tuple[Manifest, int]:
    """Embed the shards that are not finished, and those that have been damaged since."""
    place.open(manifest)
    damaged = place.damaged(manifest)
    if damaged:
        warn(
            f"{len(damaged)} of the {len(manifest.shards)} finished shards of {place.path} are not as "
            "they were written; their rows are embedded again.",
            CorruptShardWarning,
        )
    size = manifest.asked["rows_per_shard"]
    read = partial(rows.tables, counts=manifest.n_rows, size=size)
    n_resumed = manifest.totals().n_rows - sum(manifest.shards[n].n_rows for n in damaged)
    n_rows = sum(manifest.n_rows)
    with progress_bar(
        n_rows, shown=progress, work="embedding", unit="row", initial=n_resumed
    ) as bar:
        for number, table in _pending_shards(read, rows.schema, manifest, damaged):
            first = number * size
            texts = table.select(manifest.asked["columns"])
            embedded = embed_rows(embedder, texts, first, partial(rows.place, manifest.n_rows))
            shard = Shard(number, first, table.select(place.kept.names), embedded.vectors)
            # In this order, a shard that has its name is in the manifest, and what the manifest
            # has lies on the disk.
            digest = place.write(shard)
            manifest = manifest.finished(number, Counts(len(table), *embedded[1:]), digest)
            manifest.write(place.manifest)
            place.publish(number)
            bar.update(len(table))
    if isinstance(place, ArrayFile):
        manifest = _finish_array(place, manifest, partial(read, place.kept, start=0))
    return manifest, n_resumed


def _pending_shards(
    read: Callable[..., Iterator[pa.Table]],
    schema: pa.Schema,
    manifest: Manifest,
    damaged: list[int],
) -> Iterator[tuple[int, pa.Table]]:
    """Yield the rows of the shards that are damaged or not finished, with the shards' numbers."""
    for number in damaged:
        yield number, next(read(schema, start=number * manifest.asked["rows_per_shard"]))
    n_finished = len(manifest.shards)
    if n_finished < manifest.n_shards:
        yield from enumerate(read(schema, start=manifest.totals().n_rows), n_finished)


def _finish_array(
    place: ArrayFile, manifest: Manifest, read: Callable[[], Iterator[pa.Table]]
) -> Manifest:
    """Write the columns beside an array, unless they are there, and give the array its name."""
    if not place.has_kept(manifest):
        manifest = replace(manifest, kept_digest=place.write_kept(read()))
        manifest.write(place.manifest)
    place.finish()
    return manifest
