"""The data directory: what lies where, who may have it alone, and how an empty one is made."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vault import durable
from vault.catalogue import migrations
from vault.catalogue.search import Catalogue
from vault.errors import VaultBusyError, VaultExistsError, VaultMissingError
from vault.log import staging

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Half copies lie beside the objects, on the same file system, so that placing one is a link.
DIRECTORIES = ("log", "objects", "incoming", "records", "derived", "keys")
PRIVATE = ("keys", "records")  # personal fields and keys are for the service's account only


def create(root: Path) -> None:
    """Lay out an empty data directory; raises VaultExistsError when anything is there."""
    if root.exists() and any(root.iterdir()):
        raise VaultExistsError(f"{root} is not empty")
    with durable.storage_errors(root, "create"):
        root.mkdir(parents=True, exist_ok=True)
        for name in DIRECTORIES:
            (root / name).mkdir(mode=0o700 if name in PRIVATE else 0o755)


def require(root: Path) -> None:
    """Raise VaultMissingError unless a vault was created here, StorageError when this account may not even look."""
    with durable.storage_errors(root, "look into"):  # another account's
        here = (root / "log" / "checkpoint").exists() and (root / "keys" / "log.key").exists()
    if not here:
        raise VaultMissingError(f"there is no vault in {root}")


def lock(root: Path, *, alone: bool) -> int:
    """Hold the vault, shared or alone, until the descriptor is closed; raises VaultBusyError at once."""
    with durable.storage_errors(root / "vault.lock", "open"):
        fd = os.open(root / "vault.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError as err:
        os.close(fd)
        raise VaultBusyError(f"vault {root} is in use by another process") from err
    return fd


@contextmanager
def turn(path: Path) -> Iterator[None]:
    """Let one at a time in, whether thread or process: for acts that look before they write."""
    with durable.storage_errors(path, "open"):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def create_catalogue(path: Path) -> None:
    """Create an empty catalogue database with the newest schema."""
    staging.create_database(path)
    catalogue = Catalogue(path)
    with catalogue.writing() as connection:
        migrations.upgrade(connection)
    catalogue.close()


def remove_database(path: Path) -> None:
    """Remove a database that nobody has open, with its journal files."""
    for suffix in ("-wal", "-shm", ""):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
