"""The index of the log anew, from the log's files alone (I7): ids, subject heads and the checkpoint in a fresh database."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from vault.entry import canonical
from vault.errors import EntryInvalidError
from vault.log.batch import IndexRow
from vault.log.staging import Staging

if TYPE_CHECKING:
    from pathlib import Path

    from vault.log.checkpoint import Checkpoint
    from vault.log.reader import LogReader

ROWS_PER_STEP = 4096


def restore_index(reader: LogReader, database: Path) -> Checkpoint:
    """Fill an empty database from the authenticated entries; raises VaultExistsError when it holds a log.

    One transaction: an interrupted restoration leaves nothing. Every link to earlier entries is compared on the way.
    """
    checkpoint = reader.checkpoint()
    staging = Staging.create(database)
    try:
        with staging.restoring(checkpoint.note):
            for start in range(0, checkpoint.size, ROWS_PER_STEP):
                _restore_step(staging, reader, start, checkpoint)
    finally:
        staging.close()
    return checkpoint


def _restore_step(staging: Staging, reader: LogReader, start: int, checkpoint: Checkpoint) -> None:
    """Add the entries from `start`, at most ROWS_PER_STEP of them."""
    end = min(start + ROWS_PER_STEP, checkpoint.size)
    entries = [(index, _read(index, data)) for index, data in reader.entries(start, end, checkpoint)]
    heads = staging.heads({value for _, (_, _, links) in entries for value in links})
    changed: dict[str, int] = {}
    rows = []
    for index, (identity, digest, links) in entries:
        rows.append(IndexRow(id=identity, digest=digest, position=index))
        for subject, prev in links.items():
            if (expected := changed.get(subject, heads.get(subject, -1))) != prev:
                raise EntryInvalidError(f"entry {index} follows entry {prev} of {subject}, the newest is {expected}")
        changed.update(dict.fromkeys(links, index))
    staging.add(rows, changed)


def _read(index: int, data: bytes) -> tuple[str, bytes, dict[str, int]]:
    """Return an entry's id, the digest of its statement, and the previous index of each of its subjects."""
    try:
        document = json.loads(data)
        statement = document["statement"]
        links = {str(statement[kind]): prev for kind, prev in document["prev"].items()}
        identity = statement["id"]
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise EntryInvalidError(f"entry {index} is not a log entry: {err}") from err
    return identity, hashlib.sha256(canonical(statement)).digest(), links
