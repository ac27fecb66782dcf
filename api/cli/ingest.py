"""`liuhen ingest`: take footage off cards and folders, and seal it."""

import threading
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api import damage, present
from api.cli import shapes
from api.cli.faults import tell
from api.cli.invocation import Invocation, command
from api.progress import Bar, Meter
from hardware.errors import HardwareError
from hardware.recorder import printable
from hardware.volume import VolumeRecorder
from ingest.dock import DockOptions, dock, require_apart
from ingest.errors import IngestError, IngestIncompleteError
from ingest.events import DockReport, Event, Outcome, Progress
from ingest.probing.probe import Prober
from vault.model import Actor, CaseRecord
from vault.vault import Vault

if TYPE_CHECKING:
    from vault.errors import LiuhenError

DEVICES_MAX = 20  # docked at once: a full rack at shift end


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "ingest")(ingest)


def ingest(
    invocation: Invocation,
    *,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Cards, folders or single files.")],
    skip_known: Annotated[
        bool, typer.Option("--skip-known", help="Leave files alone that were taken before and look unchanged.")
    ] = False,
    case: Annotated[
        str | None, typer.Option(metavar="NUMBER", help="Link what is sealed to this case (案号); it must be open.")
    ] = None,
) -> None:
    """Seal every file of a card: inventory first, one read, re-read from the disk, signed log.

    Nothing is written to the card. Run again after any interruption: what is sealed is not copied twice.
    """
    settings = invocation.settings
    prober = Prober(memory_bytes=settings.probe_memory_mib << 20, deadline_s=settings.probe_time_s)
    faults: list[LiuhenError | HardwareError] = []
    with invocation.vault() as vault, prober, Meter(invocation.out, shown=not invocation.json) as meter:
        record = None if case is None else vault.catalogue.find_case(case)
        station = _Station(invocation, vault, prober, meter, skip_known=skip_known, several=len(paths) > 1)
        for path, report in station.take_all(paths):
            if not isinstance(report, DockReport):
                faults.append(report)
                continue
            if record is not None:
                _link(vault, station.actor, report, record)
            if not report.ok:
                faults.append(_incomplete(path, report))
    for fault in faults[1:]:
        tell(fault, as_json=invocation.json)
    if faults:
        raise faults[0]


def _places(paths: list[Path]) -> dict[Path, frozenset[str]]:
    """Return what to dock: each folder once, and files of one folder together, because a folder is one device."""
    places: dict[Path, frozenset[str]] = {}
    for path in paths:
        try:
            place = path.resolve()
            only = frozenset([place.name]) if place.is_file() else frozenset()
        except (OSError, RuntimeError):  # a loop of links, a folder that is closed to us: docking it says so
            place, only = path, frozenset()
        place = place.parent if only else place
        before = places.get(place, only)
        places[place] = before | only if before and only else frozenset()
    return places


class _StoppedError(BaseException):
    """Ends a dock thread after Ctrl-C; what it had sealed stays sealed."""


class _Station:
    """Docks several paths at once, so that a slow device never stalls another, and tells what happens."""

    def __init__(
        self, invocation: Invocation, vault: Vault, prober: Prober, meter: Meter, *, skip_known: bool, several: bool
    ) -> None:
        self.invocation = invocation
        self.vault = vault
        self.prober = prober
        self.meter = meter
        self.several = several
        self.options = DockOptions(skip_known=skip_known, sm3=invocation.settings.sm3)
        self.actor = invocation.actor(vault)
        self._stop = threading.Event()
        self._telling = threading.Lock()

    def take_all(self, paths: list[Path]) -> Iterator[tuple[Path, DockReport | HardwareError | IngestError]]:
        """Dock every path; yields each report, or the error for which a device could not be taken, in order."""
        places = _places(paths)
        with ThreadPoolExecutor(min(len(places), DEVICES_MAX), thread_name_prefix="dock") as pool:
            try:
                for path, future in [(path, pool.submit(self.take, path, only)) for path, only in places.items()]:
                    try:
                        yield path, future.result()
                    except (HardwareError, IngestError) as err:  # this device cannot be taken; the others go on
                        yield path, err
            except BaseException:
                self._stop.set()
                raise

    def take(self, path: Path, only: Collection[str] = ()) -> DockReport:
        """Dock one path, or only these files in it, to its end."""
        started = time.monotonic()
        bar = self.meter.begin(printable(path.name))
        try:
            with VolumeRecorder(path, only=only) as recorder:
                require_apart(self.vault, recorder.path)
                label = printable(recorder.identity().label)
                report = dock(
                    self.vault,
                    recorder,
                    self.actor,
                    self.prober,
                    options=self.options,
                    on_event=lambda event: self._on_event(event, bar, f"{label}: " if self.several else ""),
                )
        finally:
            bar.end()
        if not self.invocation.json:
            self._tell_end(report, time.monotonic() - started)
        return report

    def _on_event(self, event: Event, bar: Bar, label: str) -> None:
        match event:
            case Progress():
                if self._stop.is_set():
                    raise _StoppedError
                what = f"{label}{event.files_done + 1}/{event.files_total} {event.path.rpartition('/')[2]}"
                bar.update(event.bytes_done, what=what, total=event.bytes_total)
            case Outcome():
                with self._telling:
                    self._tell_outcome(event, label)

    def _tell_outcome(self, outcome: Outcome, label: str) -> None:
        if self.invocation.json:
            self.invocation.document(shapes.outcome(outcome))
            return
        digest = "" if outcome.clip is None else present.short(outcome.clip, 12)
        status = self.invocation.say(f"status.{outcome.status}")
        reason = damage.in_words(outcome.reason, self.invocation.say.language)
        parts = [status, digest, present.size(outcome.size), label + outcome.path, reason]
        self.meter.line("  ".join(part for part in parts if part))

    def _tell_end(self, report: DockReport, seconds: float) -> None:
        say, label = self.invocation.say, printable(report.label)
        for skipped in report.skipped:
            self.meter.line(say("ingest.skipped", path=printable(skipped.path), reason=printable(skipped.reason)))
        if report.resumed:
            self.meter.line(say("ingest.resumed", label=label))
        if report.known:
            self.meter.line(say("ingest.known", label=label, files=report.known))
        if report.outcomes:
            counts = {status: report.count(status) for status in ("sealed", "damaged", "duplicate", "failed")}
            size = present.size(sum(outcome.size for outcome in report.outcomes))
            self.meter.line(say("ingest.done", label=label, bytes=size, time=f"{seconds:.1f} s", **counts))


def _link(vault: Vault, actor: Actor, report: DockReport, record: CaseRecord) -> None:
    """Tie what was sealed to the case; what is tied already stays."""
    linked = {link.clip for link in vault.catalogue.links(case=record.id)}
    for outcome in report.outcomes:
        if outcome.clip is not None and outcome.clip not in linked:
            vault.link(actor, outcome.clip, record.id, "")
            linked.add(outcome.clip)


def _incomplete(path: Path, report: DockReport) -> IngestIncompleteError:
    failed = report.count("failed")
    what = f"{failed} of {len(report.outcomes)} files failed" if failed else "a part could not be listed"
    return IngestIncompleteError(f"{printable(str(path))}: {what}")
