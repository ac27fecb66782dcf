"""The one port of transcode: bytes by position.

Two adapters ship: the vault's `VerifiedReader`, which checks every chunk of an original before it hands it out (I8), and
`derivatives.FileAccess` for the finished files of the cache. Consumers may read small pieces: both keep what is hot.
"""

from __future__ import annotations

from typing import Protocol


class RandomAccess(Protocol):
    """A file that does not change while it is read. Thread-safe."""

    @property
    def size(self) -> int:
        """Bytes in all."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes [offset, offset + length), shorter only at the end of the file."""
        ...
