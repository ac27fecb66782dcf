"""The child's side of the prober: looks into one file after the other. Run only under `hardware.sandbox`.

For each file of a request it sends one progress message `{"number": i, "media": …, "condition": …, "reason": …,
"facts": {…}}`; the parent checks all of it again (`ingest.probing.probe.parse_facts`), for this process reads hostile bytes.
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any

import exifread

from hardware.names import parse_name
from hardware.sandbox import serve
from ingest.probing import media, photo
from ingest.probing.position import parse_nmea, summary
from ingest.probing.sniff import HEAD_BYTES, KINDS, UNKNOWN, Kind, by_name, sniff
from ingest.probing.start import choose, container_claim, exif_claim, mtime_claim, name_claim
from ingest.probing.structure import check

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.probing.structure.source import Verdict

TOOLS = {**media.TOOLS, "exifread": exifread.__version__}
EXIF_HEAD_BYTES = 256 << 10  # EXIF stands in the first segment, at most 64 KiB; HEIC keeps it behind its boxes
JPEG_BYTES_MAX = 64 << 20  # that are decoded; 64 megapixels of the finest quality have 40 MB
NMEA_BYTES_MAX = 4 << 20  # of a log that is searched for positions
_WITH_EXIF = frozenset({"jpeg", "tiff", "heic", "avif", "png", "webp"})
_NOT_FOR_JSON = frozenset({"coding", "bits"})  # notes between a check and a decoder


class FileSource:
    """A file as the checks read it."""

    def __init__(self, descriptor: int) -> None:
        """Borrow the descriptor."""
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes by offset; fewer only at the end."""
        length = max(0, min(length, self.size - offset))  # pread makes room for all that is asked
        data = os.pread(self._descriptor, length, offset)
        while 0 < len(data) < length and (more := os.pread(self._descriptor, length - len(data), offset + len(data))):
            data += more
        return data


def handle(request: dict[str, Any], progress: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Describe the files of a request, telling each as soon as it is known."""
    for file in request["files"]:
        progress({"number": file["number"], **describe(file, decode=request["decode"], budget_s=request["budget_s"])})
    return {}


def describe(file: dict[str, Any], *, decode: bool, budget_s: float) -> dict[str, Any]:
    """Return media, condition, reason and facts of one file; without `decode` no foreign parser sees it."""
    descriptor = os.open(file["path"], os.O_RDONLY | os.O_CLOEXEC)
    try:
        source = FileSource(descriptor)
        return _File(file, source, decode=decode, budget_s=budget_s).describe()
    finally:
        os.close(descriptor)


class _File:
    def __init__(self, file: dict[str, Any], source: FileSource, *, decode: bool, budget_s: float) -> None:
        self.path: str = file["path"]
        self.name: str = file["name"]
        self.modified_ns: int | None = file["modified_ns"]
        self.source = source
        self.decode = decode
        self.budget_s = budget_s
        self.head = source.read(0, HEAD_BYTES)
        self.named = by_name(self.name)
        self.kind = self._kind()
        self.facts: dict[str, Any] = {"container": self.kind.name, "checked": "structure", "tools": TOOLS}
        self.exif: photo.Exif | None = None
        self.duration_ms = 0

    def _kind(self) -> Kind:
        found = sniff(self.head)
        claims_footage = self.named.media in {"video", "audio", "image"}
        if found.name in {"", "text"} and claims_footage:
            return UNKNOWN
        return self.named if found is UNKNOWN and self.named.name == "text" and self.source.size else found

    def describe(self) -> dict[str, Any]:
        """Judge and describe."""
        verdict = check(self.kind.name, self.source)
        self.facts |= {name: value for name, value in verdict.notes.items() if name not in _NOT_FOR_JSON}
        kind_media, reason = self._look(verdict)
        reason = verdict.reason or reason
        if self.named is not UNKNOWN and self.kind is not UNKNOWN and self.named.media != kind_media:
            self.facts["named_as"] = self.named.name
        if kind_media in {"video", "audio", "image"} and (start := self._start()):
            self.facts["start"] = start
        if reason:
            self.facts["reason"] = reason
        return {
            "media": kind_media,
            "condition": "damaged" if reason else "whole",
            "reason": reason,
            "facts": {name: value for name, value in self.facts.items() if value not in ("", 0, {}, [])},
        }

    def _look(self, verdict: Verdict) -> tuple[str, str]:
        """Return the media type and what is wrong with the content, by the kind of file."""
        if self.source.size == 0:
            return self.named.media, ""  # the verdict says it
        if self.kind is UNKNOWN:
            return self._look_unknown()
        match self.kind.media:
            case "video" | "audio":
                return self._look_container(self.kind, verdict)
            case "image":
                return "image", self._look_image(verdict)
            case "document":
                self._look_document()
                return "document", ""
            case _:
                return self.kind.media, ""

    def _look_unknown(self) -> tuple[str, str]:
        """A file without a known signature: judged by what its name claims."""
        claimed = self.named
        if claimed.media not in {"video", "audio", "image"}:
            return claimed.media, ""
        if claimed.media == "video" and self.decode and any(self.head):
            found = media.look(self.path, Kind(name="", media="video"), budget_s=self.budget_s)
            if found.has("video") and not found.reason:
                return self._take(found, "video")
        what = "holds only zeros" if not any(self.head) else "is none inside"
        return claimed.media, f"it is named as {claimed.name} but {what}"

    def _look_container(self, kind: Kind, verdict: Verdict) -> tuple[str, str]:
        if not self.decode:
            return kind.media, ""
        found = media.look(self.path, kind, budget_s=self.budget_s)
        kind_media, reason = self._take(found, kind.media)
        if turn := verdict.notes.get("rotation"):
            for stream in self.facts["streams"]:
                if stream["kind"] == "video":
                    stream["rotation"] = turn
            self.facts.pop("rotation")
        return kind_media, reason

    def _take(self, found: media.Look, kind_media: str) -> tuple[str, str]:
        """Put what FFmpeg saw into the facts."""
        self.duration_ms = found.duration_ms
        self.facts |= {
            "container": found.container,
            "streams": found.streams,
            "duration_ms": found.duration_ms,
            "bit_rate": found.bit_rate or (self.source.size * 8000 // found.duration_ms if found.duration_ms else 0),
            "tags": found.tags,
            "checked": found.checked,
        }
        if points := found.points:
            self.facts["gps"] = summary(points, "nmea")
        elif found.position is not None:
            self.facts["gps"] = summary([found.position], "container")
        if found.has("video"):
            return "video", found.reason
        if found.has("audio"):
            return "audio", found.reason
        return kind_media, found.reason or "it holds no picture and no sound"

    def _look_image(self, verdict: Verdict) -> str:
        size = {key: verdict.notes[key] for key in ("width", "height") if key in verdict.notes}
        self.facts["streams"] = [{"index": 0, "kind": "image", "codec": self.kind.name, **size}]
        for key in size:
            self.facts.pop(key)
        if self.decode:
            self._look_exif()
        if not self.decode or verdict.reason or self.kind.name != "jpeg":
            return ""
        if self.source.size > JPEG_BYTES_MAX or not photo.is_decodable(verdict.notes):
            return ""
        self.facts["checked"] = "decoded"
        return photo.decode_jpeg(self.source.read(0, self.source.size), verdict.notes)

    def _look_exif(self) -> None:
        if self.kind.name not in _WITH_EXIF:
            return
        if self.kind.name != "tiff" and b"Exif" not in self.source.read(0, EXIF_HEAD_BYTES):
            return
        with open(self.path, "rb", buffering=io.DEFAULT_BUFFER_SIZE) as stream:  # noqa: PTH123 # exifread seeks in it
            self.exif = photo.read_exif(stream)
        self.facts["exif"] = self.exif.fields
        if (place := self.exif.position()) is not None:
            self.facts["gps"] = summary([place], "exif")

    def _look_document(self) -> None:
        if self.kind.name == "text" and b"$G" in self.head:
            text = self.source.read(0, NMEA_BYTES_MAX).decode("ascii", "replace")
            self.facts["gps"] = summary(parse_nmea(text), "nmea")

    def _start(self) -> dict[str, object]:
        tags = self.facts.get("tags", {})
        found = [
            exif_claim(self.exif.fields, self.exif.gps_time()) if self.exif is not None else None,
            container_claim(tags),
            name_claim(parse_name(self.name)),
            mtime_claim(self.modified_ns, self.duration_ms),
        ]
        return choose([claim for claim in found if claim is not None], self.duration_ms)


if __name__ == "__main__":
    assert KINDS  # noqa: S101 # the tables are there before the first file comes
    serve(handle)
