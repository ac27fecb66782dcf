"""The dock session: identify, read the clock, commit to the inventory, then copy and seal file after file.

A session stays open until every file of its inventory is sealed. Docking the same device again goes on with the open
session: what was sealed in it is not copied again. A second thread seals one batch while the next is being copied.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hardware.errors import DeviceGoneError, HardwareError
from hardware.recorder import Inventory, Item, printable
from ingest.errors import DeviceBusyError, SourceOverlapsVaultError
from ingest.events import DockReport, Outcome, Progress
from ingest.pull import SMALL_BYTES, pull
from ingest.seal import Copy, Failure, Sealer
from vault import durable
from vault.errors import StorageError
from vault.model import Actor, DeviceId, Digest, SessionId, device_id
from vault.vault import Draft, Vault, uuid7

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hardware.recorder import Recorder
    from ingest.events import Event
    from ingest.probing.probe import Prober

BATCH_FILES = 128  # small files share one sync, one checkpoint and one transaction
BATCH_BYTES = 32 << 20
PROGRESS_S = 0.1  # how often progress is told at most


@dataclass(frozen=True, slots=True, kw_only=True)
class DockOptions:
    """How to dock. None of these weakens what is promised about a sealed clip."""

    skip_known: bool = False  # leave files alone that were taken from this place before and look unchanged
    only: frozenset[str] | None = None  # restrict the inventory to these paths (a single file was named)
    sm3: bool = False  # a second digest of the same bytes (密评)


def dock(
    vault: Vault,
    recorder: Recorder,
    actor: Actor,
    prober: Prober,
    *,
    options: DockOptions | None = None,
    on_event: Callable[[Event], None],
) -> DockReport:
    """Take everything off a device. Files that fail are reported and left on the device; the rest goes on.

    `on_event` may be called from another thread, never from two at once. Raises HardwareError when the device cannot be
    listed at all, StorageError when the vault's disk refuses, DeviceBusyError when another process docks this device.
    """
    session = _Dock(
        vault=vault, recorder=recorder, actor=actor, prober=prober, options=options or DockOptions(), on_event=on_event
    )
    held = _lock_device(vault, session.device, session.identity.label)
    try:
        return session.run()
    finally:
        os.close(held)


def require_apart(vault: Vault, source: Path) -> None:
    """Refuse a source that holds the data directory or lies in it; raises SourceOverlapsVaultError."""
    root = vault.root.resolve()
    source = source.resolve()
    if _is_within(source, root) or (source.is_dir() and _is_within(root, source)):
        raise SourceOverlapsVaultError(f"{printable(str(source))!r} and the data directory {root} lie in one another")


def _is_within(path: Path, folder: Path) -> bool:
    """Compare by inode: a folder has other names through a bind mount."""
    with suppress(OSError):
        return any(place.samefile(folder) for place in (path, *path.parents))
    return False


def _lock_device(vault: Vault, device: DeviceId, label: str) -> int:
    """Keep other processes from docking the same device at once: they would share one open session."""
    path = vault.objects.incoming / f"{device}.lock"
    with durable.storage_errors(path, "open"):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as err:
        os.close(fd)
        raise DeviceBusyError(f"{label} is being docked by another process") from err
    return fd


@dataclass(slots=True)
class _Counter:
    files_total: int = 0
    bytes_total: int = 0
    files_done: int = 0
    bytes_done: int = 0
    told_at: float = field(default=0.0)


class _Dock:
    def __init__(
        self,
        *,
        vault: Vault,
        recorder: Recorder,
        actor: Actor,
        prober: Prober,
        options: DockOptions,
        on_event: Callable[[Event], None],
    ) -> None:
        self.vault = vault
        self.recorder = recorder
        self.actor = actor
        self.prober = prober
        self.options = options
        self.on_event = on_event
        self.identity = recorder.identity()
        self.device: DeviceId = device_id(self.identity.driver, self.identity.serial)
        self.counter = _Counter()
        self.outcomes: list[Outcome] = []
        self.gone: DeviceGoneError | None = None
        self.telling = threading.Lock()

    def run(self) -> DockReport:
        """Run the session to its end."""
        now = datetime.now(UTC)
        clock = self.recorder.read_clock(now)
        inventory = self._inventory()
        latest = self.vault.catalogue.latest_session(self.device)
        resumed = latest is not None and not latest.closed
        done = self.vault.catalogue.acquired_from(self.device, latest.id) if latest and resumed else {}
        known = self.vault.catalogue.acquired_from(self.device) if self.options.skip_known else {}
        done = {key: digest for key, digest in done.items() if self.vault.objects.holds(digest, key[1])}
        known = {key: digest for key, digest in known.items() if self.vault.objects.holds(digest, key[1])}
        todo = [item for item in inventory.items if _key(item) not in done and _key(item) not in known]
        left_alone = sum(_key(item) in known and _key(item) not in done for item in inventory.items)
        if self.options.skip_known and not todo and not resumed:
            return self._report(None, inventory, known=left_alone, resumed=False)

        session = latest.id if latest and resumed else SessionId(str(uuid7()))
        clock_fields: dict[str, str | int] = {"source": clock.source}
        if clock.offset_ms is not None and clock.uncertainty_ms is not None:
            clock_fields |= {"offset_ms": clock.offset_ms, "uncertainty_ms": clock.uncertainty_ms}
        self.vault.objects.sweep()  # first: on a full disk the half copies of the last try are what is in the way
        self._open(session, clock_fields, inventory)
        for item in inventory.items:
            if (digest := done.get(_key(item))) is not None:
                self._tell(self._earlier(item, digest))
        self._take(session, todo)
        scoped = self.options.only is not None or "scope" in self.identity.fields
        whole = inventory.complete and not any(outcome.status == "failed" for outcome in self.outcomes)
        if whole and not (scoped and resumed):  # the session of a whole card is not over with one file of it
            self._close(session)
        return self._report(session, inventory, known=left_alone, resumed=resumed)

    # --- the session's own entries -----------------------------------------------------------------------------------

    def _inventory(self) -> Inventory:
        inventory = self.recorder.inventory()
        if self.options.only is None:
            return inventory
        items = tuple(item for item in inventory.items if item.path in self.options.only)
        return Inventory(items=items, skipped=(), complete=len(items) == len(self.options.only))

    def _open(self, session: SessionId, clock: dict[str, str | int], inventory: Inventory) -> None:
        """Log who docked, what its clock said, and everything that is on it, before the first byte is copied."""
        base: dict[str, str | int] = {"device": self.device, "session": session}
        identity = {key: printable(value) for key, value in self.identity.fields.items()}
        listing = [{"path": printable(i.path), "bytes": i.size, "modified_at": i.modified_at} for i in inventory.items]
        skipped = [{"path": printable(s.path), "reason": printable(s.reason)} for s in inventory.skipped]
        self.vault.submit(
            [
                Draft(
                    type="dock.opened",
                    actor=self.actor,
                    fields={**base, "driver": self.identity.driver},
                    private={
                        "label": printable(self.identity.label),
                        "serial": printable(self.identity.serial),
                        "identity": identity,
                    },
                ),
                Draft(type="device.clock_read", actor=self.actor, fields={**base, **clock}),
                Draft(
                    type="device.inventoried",
                    actor=self.actor,
                    fields={
                        **base,
                        "files": len(inventory.items),
                        "bytes": sum(item.size for item in inventory.items),
                    },
                    private={"files": listing, "skipped": skipped, "complete": inventory.complete},
                ),
            ]
        )

    def _close(self, session: SessionId) -> None:
        counts = {s: sum(o.status == s for o in self.outcomes) for s in ("sealed", "duplicate", "damaged", "failed")}
        fields: dict[str, str | int] = {"device": self.device, "session": session, **counts}
        self.vault.submit([Draft(type="dock.closed", actor=self.actor, fields=fields)])

    def _report(self, session: SessionId | None, inventory: Inventory, *, known: int, resumed: bool) -> DockReport:
        return DockReport(
            device=self.device,
            session=session,
            label=self.identity.label,
            outcomes=tuple(self.outcomes),
            skipped=inventory.skipped,
            known=known,
            complete=inventory.complete,
            resumed=resumed,
        )

    # --- copying -------------------------------------------------------------------------------------------------------

    def _take(self, session: SessionId, todo: list[Item]) -> None:
        self.counter.files_total = len(todo) + len(self.outcomes)
        self.counter.files_done = len(self.outcomes)
        self.counter.bytes_total = sum(item.size for item in todo)
        sealer = Sealer(
            vault=self.vault,
            prober=self.prober,
            actor=self.actor,
            device=self.device,
            session=session,
        )
        sealing: Future[None] | None = None
        with ThreadPoolExecutor(1, thread_name_prefix="seal") as pool:
            for batch in _batches(todo):
                results = self._copy_batch(batch)
                if sealing is not None:
                    sealing.result()
                sealing = pool.submit(lambda results: self._tell(*sealer.seal(results)), results)
            if sealing is not None:
                sealing.result()

    def _copy_batch(self, batch: list[Item]) -> list[Copy | Failure]:
        results: list[Copy | Failure] = []
        try:
            for item in batch:
                results.append(self._copy(item))  # noqa: PERF401 # on an error the copies made so far are let go
        except BaseException:
            for result in results:
                if isinstance(result, Copy):
                    result.pulled.incoming.discard()
            raise
        return results

    def _copy(self, item: Item) -> Copy | Failure:
        if self.gone is not None:
            return Failure(
                item=item, reason=f"{printable(item.path)!r} was not read: {self.gone}", remedy=self.gone.remedy
            )
        free = self.vault.objects.free_bytes() if item.size > SMALL_BYTES else item.size
        if item.size > free:  # alone: a file that claims terabytes must not keep the rest of the card from being sealed
            what = f"{printable(item.path)!r} has {item.size} bytes, the vault's disk has room for {free}"
            return Failure(item=item, reason=what, remedy=StorageError.remedy)
        incoming = self.vault.objects.begin()
        try:
            with self.recorder.open(item) as stream:
                pulled = pull(stream, incoming, sm3=self.options.sm3, on_bytes=lambda n: self._progress(item, n))
        except DeviceGoneError as err:
            incoming.discard()
            self.gone = err
            return Failure.of(item, err)
        except HardwareError as err:
            incoming.discard()
            return Failure.of(item, err)
        except BaseException:
            incoming.discard()
            raise
        return Copy(item=item, pulled=pulled)

    def _earlier(self, item: Item, digest: Digest) -> Outcome:
        """Report a file that this session had sealed before it was interrupted."""
        index, entry = self.vault.sealed(digest)
        damaged = entry.statement.fields["condition"] == "damaged"
        return Outcome(
            path=printable(item.path),
            size=item.size,
            status="damaged" if damaged else "sealed",
            clip=digest,
            index=index,
        )

    def _progress(self, item: Item, count: int) -> None:
        self.counter.bytes_done += count
        now = time.monotonic()
        if now - self.counter.told_at >= PROGRESS_S:
            self.counter.told_at = now
            with self.telling:
                self.on_event(
                    Progress(
                        path=printable(item.path),
                        files_done=self.counter.files_done,
                        files_total=self.counter.files_total,
                        bytes_done=self.counter.bytes_done,
                        bytes_total=self.counter.bytes_total,
                    )
                )

    def _tell(self, *outcomes: Outcome) -> None:
        with self.telling:
            for outcome in outcomes:
                self.outcomes.append(outcome)
                self.counter.files_done += 1
                self.on_event(outcome)


def _key(item: Item) -> tuple[str, int, str]:
    return printable(item.path), item.size, item.fingerprint


def _batches(items: list[Item]) -> Iterator[list[Item]]:
    """Small files together, each large one alone."""
    batch: list[Item] = []
    size = 0
    for item in items:
        if batch and (item.size > SMALL_BYTES or len(batch) == BATCH_FILES or size + item.size > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += item.size
        if item.size > SMALL_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
