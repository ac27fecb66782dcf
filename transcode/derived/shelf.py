"""Finished derivatives on disk: `derived/`, a cache that may be deleted at any time.

    derived/ab/<64 hex of the original>.<recipe>.mp4      the derivative
    derived/ab/<64 hex of the original>.<recipe>.json     its parent, reason, tool versions, digest: written last

A derivative counts only when its .json is there and fits it; anything else is made again (I7).
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vault import durable
from vault.errors import FixityMismatchError
from vault.model import CHUNK_BYTES, Digest
from vault.store import ChunkCache, chunk_hash

if TYPE_CHECKING:
    from pathlib import Path

HOT_CHUNKS = 8  # a viewer reads a few megabytes ahead
_TOKEN = uuid.uuid4().hex[:8]  # tells our part files from those of a dead process that had our number


@dataclass(frozen=True, slots=True, kw_only=True)
class Derivative:
    """What was made of which original, how, and by what."""

    clip: Digest
    recipe: str  # with its version: "proxy-1"
    reason: str  # message key: why it was needed
    output: Digest
    size: int
    picture: str  # "copied", "converted" or ""
    sound: str
    pictures: int
    sounds: int
    notes: tuple[tuple[str, str], ...]  # (message key, English): what a viewer must know
    tools: dict[str, str]

    def encode(self) -> bytes:
        """Return the .json."""
        about = {
            "v": 1,
            "parent": str(self.clip),
            "recipe": self.recipe,
            "reason": self.reason,
            "output": str(self.output),
            "bytes": self.size,
            "picture": self.picture,
            "sound": self.sound,
            "pictures": self.pictures,
            "sounds": self.sounds,
            "notes": [list(note) for note in self.notes],
            "tools": self.tools,
        }
        return json.dumps(about, indent=2, sort_keys=True).encode() + b"\n"

    @classmethod
    def decode(cls, data: bytes) -> Derivative:
        """Read what `encode` wrote; raises ValueError, KeyError or TypeError on anything else."""
        about = json.loads(data)
        return cls(
            clip=Digest.parse(about["parent"]),
            recipe=str(about["recipe"]),
            reason=str(about["reason"]),
            output=Digest.parse(about["output"]),
            size=int(about["bytes"]),
            picture=str(about["picture"]),
            sound=str(about["sound"]),
            pictures=int(about["pictures"]),
            sounds=int(about["sounds"]),
            notes=tuple((str(key), str(text)) for key, text in about["notes"]),
            tools=dict(about["tools"]),
        )


class FileAccess:
    """A finished derivative as bytes by position, each chunk as it was when the whole file had its logged digest.

    Opening reads the file once. Thread-safe; keeps its file open, so a removed name does not disturb a viewer. Raises
    FixityMismatchError when the file is not, or is no longer, what was derived.
    """

    def __init__(self, path: Path, output: Digest) -> None:
        self._path = path
        self._cache = ChunkCache(HOT_CHUNKS)
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._chunks: list[bytes] = []
        whole = hashlib.sha256()
        self.size = 0
        while chunk := os.pread(self._fd, CHUNK_BYTES, self.size):
            whole.update(chunk)
            self._chunks.append(chunk_hash(chunk))
            self.size += len(chunk)
        if whole.digest() != output.value:
            self.close()
            raise FixityMismatchError(f"the playable copy {path.name} is not the one that was logged")

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes [offset, offset + length), shorter only at the end of the file."""
        end = min(offset + length, self.size)
        if offset >= end:
            return b""
        first = offset // CHUNK_BYTES
        span = b"".join(self._chunk(number) for number in range(first, -(-end // CHUNK_BYTES)))
        return span[offset - first * CHUNK_BYTES : end - first * CHUNK_BYTES]

    def _chunk(self, number: int) -> bytes:
        chunk = self._cache.get((self._path, number))
        if chunk is None:
            chunk = os.pread(self._fd, CHUNK_BYTES, number * CHUNK_BYTES)
            if chunk_hash(chunk) != self._chunks[number]:
                raise FixityMismatchError(f"the playable copy {self._path.name} was changed while it was open")
            self._cache.put((self._path, number), chunk)
        return chunk

    def close(self) -> None:
        """Release the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            self.close()


class Shelf:
    """The directory of finished derivatives."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, clip: Digest, recipe: str) -> Path:
        """Return where the derivative is, or would be."""
        return self.directory / clip.hex[:2] / f"{clip.hex}.{recipe}.mp4"

    def find(self, clip: Digest, recipe: str) -> Derivative | None:
        """Return the finished derivative; None unless it is whole and its .json fits (a power cut may tear either)."""
        path = self.path(clip, recipe)
        try:
            found = Derivative.decode(path.with_suffix(".json").read_bytes())
            size = path.stat().st_size
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return found if (found.clip, found.recipe, found.size) == (clip, recipe, size) else None

    def part(self, clip: Digest, recipe: str) -> Path:
        """Return the name under which this process makes the derivative; its directory exists afterwards."""
        path = self.path(clip, recipe)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.with_name(f".{path.name}.{os.getpid()}-{_TOKEN}.part")

    def place(self, part: Path, made: Derivative) -> None:
        """Give a complete part file its name.

        Dead before the first line: a part file, swept away at the next start. Dead after it: an .mp4 whose .json is
        missing or of an earlier one; it does not count and is written over. Nothing here is synced: what a power cut
        takes is made again.
        """
        path = self.path(made.clip, made.recipe)
        part.replace(path)
        durable.replace_recreatable(path.with_suffix(".json"), made.encode())

    def discard(self, clip: Digest, recipe: str) -> None:
        """Forget a derivative that is not what it should be; it is made again when somebody asks."""
        path = self.path(clip, recipe)
        path.with_suffix(".json").unlink(missing_ok=True)
        path.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove the part files of processes that are no more."""
        for part in self.directory.glob("*/.*.part"):
            pid, _, token = part.name.rsplit(".", 2)[-2].partition("-")
            if token != _TOKEN and not (pid.isdecimal() and int(pid) != os.getpid() and _alive(int(pid))):
                part.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
