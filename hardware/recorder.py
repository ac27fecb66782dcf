"""The port of every driver: what a dock session may ask of a recorder.

A driver promises:
- *Reading only.* Nothing is written to the device except by `erase`, which refuses unless the driver was opened for it.
- *Order.* `identity` and `read_clock` may be called before `inventory`; items are opened only from an inventory of
  this very object (handles and inode numbers do not survive a replug).
- *Absence is never emptiness.* A listing or an end of file is believed only after the device was seen to be still
  there; otherwise `DeviceGoneError`.
- *Threads.* Streams of different items may be read from different threads; one stream belongs to one thread.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from types import TracebackType
    from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who the device says it is: a claim, never an authentication. `serial` is equal on every visit."""

    driver: str
    serial: str
    label: str  # for people
    fields: Mapping[str, str] = field(default_factory=dict)  # every claim, and what `serial` is based on


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockReading:
    """Device clock minus station clock. An unknown offset is None, never 0."""

    source: str  # "none" when the device has no clock that can be read
    offset_ms: int | None
    uncertainty_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One file of the inventory.

    `path` is relative to the device, "/"-separated, undecodable bytes kept as surrogate escapes: encode it with
    `os.fsencode` to get the exact bytes, and never send it to a UTF-8 sink unescaped (see `printable`).
    """

    path: str
    size: int  # bytes
    modified_at: str  # ISO 8601; the zone is the station's, because the file system states an instant or nothing
    modified_ns: int
    fingerprint: str  # must be equal in inventory, at opening and at the end of the file

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """Something on the device that is not a readable file, and why it was not taken."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """Everything that was on the device at one moment, in a fixed order.

    `complete` is False when a place that may hold footage could not be looked into (an unreadable folder, a tree
    too deep): the session then must not end with success. Links and devices are skipped without harming it.
    """

    items: tuple[Item, ...]
    skipped: tuple[Skipped, ...]
    complete: bool


class ItemStream(Protocol):
    """The bytes of one item, from an offset to the end that the inventory promised."""

    @property
    def size(self) -> int:
        """Bytes of the whole item, by the inventory."""

    def readinto(self, buffer: bytearray | memoryview) -> int:
        """Fill `buffer` as far as the device gives bytes; 0 is the end.

        The end is told only when exactly `size` bytes were reached, the item is unchanged and the device is there.
        Raises DeviceReadError, ItemChangedError, DeviceGoneError.
        """

    def unchanged(self) -> bool:
        """Return True, or raise ItemChangedError (naming what changed) or DeviceGoneError.

        Whoever reads through `fileno()` must call it at the end; `readinto` does so by itself.
        """

    def fileno(self) -> int | None:
        """Return a descriptor opened for reading, or None where the device has none."""

    def close(self) -> None:
        """Let go of the item; may be called twice."""

    def __enter__(self) -> Self:
        """Return the stream itself."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""


class Recorder(Protocol):
    """A body-worn camera, an execution recorder, a card, a folder."""

    def identity(self) -> Identity:
        """Say who the device claims to be."""

    def read_clock(self, now: datetime) -> ClockReading:
        """Read the device's clock against `now` (aware, UTC) without setting it."""

    def inventory(self) -> Inventory:
        """List every file. Raises DeviceGoneError rather than returning the listing of a device that left."""

    def open(self, item: Item, offset: int = 0) -> ItemStream:
        """Open an item of this recorder's inventory at a byte offset. Raises as `ItemStream.readinto`."""

    def erase(self, item: Item) -> None:
        """Remove one item from the device, after it was seen to be still the same. Raises EraseRefusedError."""

    def present(self) -> bool:
        """Say whether the device that was identified is still there; False is final for this object."""

    def close(self) -> None:
        """Let go of the device; may be called twice."""


def printable(path: str) -> str:
    r"""Return `path` as text that any terminal, page or JSON encoder can take; different paths stay different.

    Undecodable bytes become `\xNN`, control and formatting characters `\uNNNN`, and a backslash is doubled.
    """
    return "".join(map(_printable_character, path))


def _printable_character(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was not UTF-8, as os.fsdecode keeps it
        return f"\\x{code - 0xDC00:02x}"
    if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}:
        return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
    return "\\\\" if character == "\\" else character
