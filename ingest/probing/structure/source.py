"""What the checks read from and answer with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


class Source(Protocol):
    """Bytes by offset."""

    @property
    def size(self) -> int:
        """Bytes in all."""

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`, fewer at the end."""


@dataclass(frozen=True, slots=True)
class BytesSource:
    """A source in memory."""

    data: bytes

    @property
    def size(self) -> int:
        """Bytes in all."""
        return len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        """Return a slice."""
        return self.data[offset : offset + length]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`reason` says why the file is damaged, empty when nothing contradicts its being whole."""

    reason: str = ""
    notes: dict[str, object] = field(default_factory=dict)  # what was learned on the way; JSON


class DamageError(Exception):
    """Carries the reason from a parser to `check`; never leaves this package."""

    def __init__(self, reason: str, notes: dict[str, object] | None = None) -> None:
        super().__init__(reason)
        self.notes = notes or {}


def cut_off(what: str, end: int, size: int) -> DamageError:
    """Return the most frequent damage: something ends after the end of the file."""
    return DamageError(f"cut off: {what} ends at byte {end}, the file at {size}")


def is_zero(data: bytes) -> bool:
    """Say whether there are only zeros."""
    return not data.strip(b"\0")
