"""The worker: makes one derivative of one sealed original. Started by `derivatives` through the sandbox, by nothing else.

Request   {"object", "chunk_list": paths, "size", "chunk_bytes", "chunk_root": hex, "demuxer", "recipe",
           "output": path, "output_bytes_max"}
Failure   {"failure": message key, "text"}     the file cannot be used (an error of the machine is raised instead)
Answer    {"bytes", "sha256", "picture", "sound", "pictures", "sounds", "notes": [[key, text]…], "tools": {…}}

libav sees only bytes that a VerifiedReader has checked against the seal (I8). The output is a temporary file; giving it
its name is the parent's act.
"""

from __future__ import annotations

import hashlib
import io
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av

from hardware.sandbox import serve
from transcode.derived.recipes import Source, cook
from transcode.errors import DerivativeError, RemuxRefusedError
from vault.errors import IntegrityError, StorageError
from vault.store import VerifiedReader

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRESS_S = 0.25
HASH_BYTES = 1 << 20


class SourceFile:
    """A verified original as a file object. A failed check is kept, because libav swallows what its callbacks raise."""

    def __init__(self, reader: VerifiedReader) -> None:
        self._reader = reader
        self._at = 0
        self.failure: Exception | None = None

    def tell(self) -> int:
        """Return the current place."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a place; libav may ask for places beyond the end."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._reader.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        """Return checked bytes."""
        length = self._reader.size - self._at if size < 0 else size
        try:
            data = self._reader.read(self._at, length)
        except (IntegrityError, StorageError) as err:
            self.failure = err
            raise
        self._at += len(data)
        return data


def handle(request: dict[str, Any], report: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Make one derivative."""
    limit = int(request["output_bytes_max"])
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    av.logging.set_level(av.logging.PANIC)
    with VerifiedReader(
        Path(request["object"]),
        Path(request["chunk_list"]),
        size=request["size"],
        chunk_bytes=request["chunk_bytes"],
        chunk_root=bytes.fromhex(request["chunk_root"]),
    ) as reader:
        file = SourceFile(reader)
        source = Source(
            file=file, demuxer=request["demuxer"], position=lambda: min(1.0, file.tell() / max(1, reader.size))
        )
        try:
            outcome = cook(source, request["recipe"], request["output"], _reporter(report))
        except (DerivativeError, RemuxRefusedError) as err:
            _raise_kept(file)
            return {"failure": err.key, "text": str(err)}
        _raise_kept(file)
    size, digest = _measure(Path(request["output"]))
    return {
        "bytes": size,
        "sha256": digest,
        "picture": outcome.picture,
        "sound": outcome.sound,
        "pictures": outcome.pictures,
        "sounds": outcome.sounds,
        "notes": [list(note) for note in outcome.notes],
        "tools": tools(),
    }


def _raise_kept(file: SourceFile) -> None:
    if file.failure is not None:  # the stored bytes are at fault, whatever libav made of it
        raise file.failure


def tools() -> dict[str, str]:
    """Name what made the derivative, with versions."""
    libraries = {name: ".".join(map(str, version)) for name, version in av.library_versions.items()}
    return {"av": av.__version__, **libraries}


def _reporter(report: Callable[[dict[str, Any]], None]) -> Callable[[float], None]:
    last = time.monotonic()

    def progress(share: float) -> None:
        nonlocal last
        if time.monotonic() - last >= PROGRESS_S:
            last = time.monotonic()
            report({"share": share})

    return progress


def _measure(path: Path) -> tuple[int, str]:
    state, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while data := file.read(HASH_BYTES):
            state.update(data)
            size += len(data)
    return size, state.hexdigest()


if __name__ == "__main__":
    serve(handle)
