"""What a dock session tells while it runs, and its final report."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from hardware.recorder import Skipped
    from vault.model import DeviceId, Digest, SessionId

Status = Literal["sealed", "duplicate", "damaged", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where the copying stands; told at most a few times a second."""

    path: str
    files_done: int
    files_total: int
    bytes_done: int
    bytes_total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The end of one file. For all but `failed`, I4 holds when this is told."""

    path: str  # on the device, printable
    size: int  # bytes
    status: Status
    clip: Digest | None = None
    index: int | None = None  # log index of the clip's seal
    acquired_index: int | None = None  # log index of this acquisition
    reason: str = ""  # why damaged or failed
    remedy: str = ""

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.path.rpartition("/")[2]


Event = Progress | Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class DockReport:
    """The end of a dock session."""

    device: DeviceId
    session: SessionId | None  # None when there was nothing new and nothing was logged
    label: str
    outcomes: tuple[Outcome, ...]
    skipped: tuple[Skipped, ...]  # links, sockets and places that could not be looked into
    known: int  # files left alone because they were taken before (`skip_known`)
    complete: bool  # every place of the device could be listed
    resumed: bool

    def count(self, status: Status) -> int:
        """Count the files that ended so."""
        return Counter(outcome.status for outcome in self.outcomes)[status]

    @property
    def ok(self) -> bool:
        """Everything on the device is sealed."""
        return self.complete and self.count("failed") == 0
