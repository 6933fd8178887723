"""One run: begun anew or where an earlier one ended, then shard after shard."""

from functools import partial
from typing import Any

from ..embedder import SentenceEmbedder
from ..progress import progress_bar
from .array import ArrayFile
from .manifest import Counts, Manifest, check_same, read_manifest
from .rows import embed_rows
from .shards import Shard, ShardFolder
from .source import Source

Place = ShardFolder | ArrayFile

# Their names have five digits, so that their order is that of the rows.
MOST_SHARDS = 100_000


def begin(place: Place, rows: Source, asked: dict[str, Any], *, overwrite: bool) -> Manifest:
    """Return the manifest of the run that is to be resumed, or of a new one.

    Parameters
    ----------
    place : ShardFolder or ArrayFile
        Where it writes.
    rows : Source
        What it reads.
    asked : dict
        What an earlier run must have been asked as well.
    overwrite : bool
        Whether to remove what an earlier run wrote.

    Returns
    -------
    Manifest
        As it is on the disk.

    Raises
    ------
    FileExistsError
        If other files are in the way.
    ValueError
        If the earlier run was asked something else.
    """
    old = read_manifest(place.manifest)
    if old is not None and not overwrite:
        check_same(old.asked, asked, place.path)
        return old
    own = set() if old is None else set(place.own_files(old))
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
) -> Manifest:
    """Embed the shards that are not finished.

    Parameters
    ----------
    embedder : SentenceEmbedder
        From :func:`~sk_sentemb.bulk.rows.prepared`.
    rows : Source
        What to read.
    manifest : Manifest
        How far the run has come.
    place : ShardFolder or ArrayFile
        Where to write.
    progress : bool
        Whether to show a bar.

    Returns
    -------
    Manifest
        With all shards.
    """
    place.open(manifest)
    read = partial(rows.tables, counts=manifest.n_rows, size=manifest.asked["rows_per_shard"])
    first, n_rows = manifest.totals().n_rows, sum(manifest.n_rows)
    tables = read(rows.schema, start=first) if len(manifest.shards) < manifest.n_shards else ()
    with progress_bar(n_rows, shown=progress, work="embedding", unit="row", initial=first) as bar:
        for number, table in enumerate(tables, len(manifest.shards)):
            texts = table.select(manifest.asked["columns"])
            embedded = embed_rows(embedder, texts, first, partial(rows.place, manifest.n_rows))
            place.write(Shard(number, first, table.select(place.kept.names), embedded.vectors))
            # In this order, a shard that has its name is in the manifest, and what the manifest
            # has lies on the disk.
            manifest = manifest.finished(Counts(len(table), *embedded[1:]))
            manifest.write(place.manifest)
            place.publish(number)
            first += len(table)
            bar.update(len(table))
    if isinstance(place, ArrayFile) and not place.path.exists():
        place.finish(read(place.kept, start=0))
    return manifest
