"""The catalogue anew from log, records and objects (I7)."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from vault import directory, durable
from vault.catalogue.projection import project, set_projected_size
from vault.catalogue.search import Catalogue
from vault.entry import decode
from vault.errors import CatalogueMismatchError, StorageError
from vault.log.reader import LogReader
from vault.log.sequencer import Log
from vault.log.signer import Signer
from vault.records import RecordStore
from vault.vault import now_ms

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BATCH_ENTRIES = 4096  # one transaction: bounded memory, and few enough commits


def rebuild(root: Path, *, on_progress: Callable[[int, int], None] | None = None) -> int:
    """Replace catalogue.db by one made from the verified log; returns the number of entries.

    Needs the vault alone (VaultBusyError). Sign-in sessions and queued work are forgotten: both are made again.
    """
    directory.require(root)
    held = directory.lock(root, alone=True)
    new = root / "catalogue.new.db"
    try:
        directory.remove_database(new)
        directory.create_catalogue(new)
        signer = Signer.load(root / "keys" / "log.key")
        _publish_staged(root, signer)
        Log.restore_index(root, signer, new)
        size = project_all(root, signer, new, on_progress or (lambda *_: None))
        durable.sync_file_system(root)
        # Dead before the removal: the old catalogue, whole. Dead before the rename: none; `rebuild` again. Dead after
        # it: the new one, whole and synced.
        directory.remove_database(root / "catalogue.db")
        with durable.storage_errors(new, "rename"):
            new.rename(root / "catalogue.db")
        durable.sync_directory(root)
    finally:
        os.close(held)
    return size


def _publish_staged(root: Path, signer: Signer) -> None:
    """Publish what the old database committed and did not publish, if it can still be read; nobody was told of it."""
    if (root / "catalogue.db").exists():
        with suppress(CatalogueMismatchError, StorageError):
            Log.open(root, signer, now_ms=now_ms).close()


def project_all(root: Path, signer: Signer, database: Path, on_progress: Callable[[int, int], None]) -> int:
    """Project every entry of the authenticated log into an empty catalogue; returns their number."""
    reader = LogReader(root / "log", [signer.verifier], signer.verifier.name)
    checkpoint = reader.checkpoint()
    records = RecordStore(root)
    catalogue = Catalogue(database)
    try:
        for start in range(0, checkpoint.size, BATCH_ENTRIES):
            end = min(start + BATCH_ENTRIES, checkpoint.size)
            with catalogue.writing() as connection:
                for index, data in reader.entries(start, end, checkpoint):
                    entry = decode(data)
                    project(connection, index, entry, records.disclosed(entry))
                set_projected_size(connection, end)
            on_progress(end, checkpoint.size)
    finally:
        catalogue.close()
    return checkpoint.size
