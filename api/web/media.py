"""Serving the bytes of clips: what to show, from where, and byte ranges that were checked on the way out (I8).

Knows nothing of sessions: `pages/views.py` lets nobody get here without a logged view (I6). Opened media are kept for a
while, because a player asks for many ranges of the same file; every byte still comes out of the verified reader.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from api.web.http import EVIDENCE_SECURITY_POLICY
from api.web.ranges import matches, select
from api.web.refusals import NotPlayableError
from transcode.derived.derivatives import Derivatives
from transcode.errors import UnsupportedMediaError
from transcode.plan import format_names, plan_playback
from transcode.virtual.media import VirtualMedia
from vault.errors import FixityMismatchError, IntegrityError, StorageError, VaultError
from vault.vault import Draft, Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from fastapi import Request
    from starlette.types import Send

    from api.config import Settings
    from transcode.access import RandomAccess
    from transcode.derived.shelf import Derivative
    from vault.model import Actor, Clip, Digest
    from vault.store import VerifiedReader

_log = logging.getLogger(__name__)
OPEN_MAX = 16  # media kept open: a three-hour clip's plan takes some tens of MB
PIECE_BYTES = 1 << 20
SEND_BYTES = 1 << 18  # sent at once: large enough to be rare, small enough to be soon
SERVICE = "liuhen"  # account under which the service itself acts
# What a browser may show by itself; anything else is offered for download only.
_IMAGE_TYPES = {
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "png": "image/png",
    "gif": "image/gif",
    "webp": "image/webp",
    "bmp": "image/bmp",
    "avif": "image/avif",
}
_DOCUMENT_TYPES = {"pdf": "application/pdf", "text": "text/plain; charset=utf-8", "txt": "text/plain; charset=utf-8"}


class Servable(Protocol):
    """Bytes to serve, with everything a range answer needs."""

    @property
    def size(self) -> int:
        """Bytes in all."""

    @property
    def etag(self) -> str:
        """Strong entity tag, quoted."""

    @property
    def mime(self) -> str:
        """Media type."""

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """Yield the bytes [start, end)."""


class Original:
    """A sealed original as it is, every chunk checked."""

    def __init__(self, reader: VerifiedReader, clip: Digest, mime: str) -> None:
        self._reader = reader
        self.size = reader.size
        self.etag = f'"{clip.hex}"'
        self.mime = mime

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """Yield the bytes [start, end), cut at chunk boundaries so that no chunk is read twice."""
        while start < end:
            stop = min(end, (start // PIECE_BYTES + 1) * PIECE_BYTES)
            yield self._reader.read(start, stop - start)
            start = stop


@dataclass(frozen=True, slots=True, kw_only=True)
class Showing:
    """How a clip is shown right now."""

    kind: str  # video | audio | image | document | none
    state: str  # ready | pending | running | failed | none
    from_original: bool = False
    reason: str = ""  # message key: why a copy is needed, or why nothing can be shown
    reason_text: str = ""  # the same in English, where the words have none for the key
    progress: float = 0.0
    eta_s: float | None = None
    error: str = ""
    mime: str = ""
    notes: tuple[tuple[str, str], ...] = ()  # (message key, English text) a viewer must be told


class MediaDesk:
    """Decides how a clip is shown and opens what is to be served. Thread-safe."""

    def __init__(self, vault: Vault, settings: Settings) -> None:
        self.vault = vault
        self._logged: set[tuple[str, str, str]] = set()  # copies whose entry was looked up
        self.derivatives = Derivatives(
            vault.root / "derived",
            vault,
            finished=self._log_derivative,
            trusted=self._was_logged,
            memory_bytes=settings.transcode_memory_mib << 20,
            deadline_s=settings.transcode_hours * 3600.0,
        )
        self._open: OrderedDict[str, VirtualMedia] = OrderedDict()
        self._faults: dict[str, str] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Stop making copies."""
        self.derivatives.close()

    def retry(self, clip: Clip) -> None:
        """Try once more to make a playable copy that failed."""
        self.derivatives.ensure(clip, again=True)

    def showing(self, clip: Clip) -> Showing:
        """Return how this clip is shown; starts a playable copy where one is needed.

        Never raises for bad bytes: they are recorded, and the page shows what `fault` then says.
        """
        try:
            return self._showing(clip)
        except (IntegrityError, StorageError) as err:
            self.report_fault(clip.id, err, self._service())
            return Showing(kind="none", state="failed", error=str(err))

    def _showing(self, clip: Clip) -> Showing:
        plan = plan_playback(clip.facts)
        match plan.kind:
            case "image":
                return Showing(kind="image", state="ready", from_original=True, mime=image_type(clip))
            case "document":
                return Showing(kind="document", state="none", from_original=True, mime=document_type(clip))
            case "none":
                return Showing(kind="none", state="none", reason=plan.reason, reason_text=plan.text)
            case "direct":
                try:
                    return self._ready(self._original_media(clip), from_original=True)
                except UnsupportedMediaError as err:
                    return self._copy(clip, err.key, str(err))
            case _:
                return self._copy(clip, plan.reason, plan.text)

    def media(self, clip: Clip) -> VirtualMedia:
        """Open what a player reads of this clip; raises NotPlayableError while there is nothing."""
        if plan_playback(clip.facts).kind == "direct":
            try:
                return self._original_media(clip)
            except UnsupportedMediaError as err:
                _log.info("direct_play_refused clip=%s reason=%s", clip.id, err.key)
        job = self.derivatives.ensure(clip)
        if job.state != "done":
            raise NotPlayableError(f"clip {clip.id}: its playable copy is {job.state}")
        return self._copy_media(clip)

    def original(self, clip: Clip, mime: str) -> Original:
        """Open the sealed original itself."""
        return Original(self.vault.read(clip.id), clip.id, mime)

    def fault(self, clip: Digest) -> str:
        """Return what was found wrong with a clip's bytes while they were served, or nothing."""
        with self._lock:
            return self._faults.get(str(clip), "")

    def report_fault(self, clip: Digest, err: Exception, actor: Actor) -> None:
        """Record once that stored bytes failed while being served: in memory for the page, in the log for ever."""
        with self._lock:
            known = str(clip) in self._faults
            self._faults[str(clip)] = str(err)
        _log.error("fixity_fault clip=%s error=%s", clip, err)
        if known:
            return
        try:
            self.vault.submit(
                [
                    Draft(
                        type="incident.detected",
                        actor=actor,
                        fields={"kind": "fixity"},
                        private={"clip": str(clip), "what": str(err)},
                    )
                ]
            )
        except VaultError as second:  # the disk may be failing altogether: the finding must still reach the page
            _log.error("incident_not_logged clip=%s error=%s", clip, second)

    # --- opening ---------------------------------------------------------------------------------------------------

    def _original_media(self, clip: Clip) -> VirtualMedia:
        return self._opened(str(clip.id), lambda: self.vault.read(clip.id))

    def _copy_media(self, clip: Clip) -> VirtualMedia:
        made = self.derivatives.describe(clip)
        return self._opened(str(made.output), lambda: self.derivatives.open(clip))

    def _opened(self, identity: str, source: Callable[[], RandomAccess]) -> VirtualMedia:
        with self._lock:
            media = self._open.get(identity)
            if media is not None:
                self._open.move_to_end(identity)
                return media
        media = VirtualMedia.open(source(), identity=identity)  # twice at once is wasteful, never wrong
        with self._lock:
            self._open[identity] = media
            while len(self._open) > OPEN_MAX:
                self._open.popitem(last=False)
        return media

    def _copy(self, clip: Clip, reason: str, text: str) -> Showing:
        job = self.derivatives.ensure(clip)
        if job.state == "done":
            ready = self._ready(self._copy_media(clip), from_original=False, reason=reason)
            return replace(ready, reason_text=text, notes=(*ready.notes, *self.derivatives.describe(clip).notes))
        if job.error_key == "derivative.fixity":
            self.report_fault(clip.id, FixityMismatchError(job.error), self._service())
        return Showing(
            kind="video",
            state=job.state,
            reason=reason,
            reason_text=text,
            progress=job.progress,
            eta_s=job.eta_s,
            error=job.error,
        )

    def _log_derivative(self, made: Derivative) -> None:
        """Log a copy before anybody sees it."""
        fields: dict[str, str | int] = {
            "clip": str(made.clip),
            "recipe": made.recipe,
            "output": str(made.output),
            "bytes": made.size,
        }
        self.vault.submit([Draft(type="clip.derived", actor=self._service(), fields=fields)])

    def _was_logged(self, made: Derivative) -> bool:
        """Tell whether the log knows this copy: what somebody slipped into the cache is never shown."""
        key = (str(made.clip), made.recipe, str(made.output))
        if key not in self._logged:
            if not self.vault.logged_derivative(made.clip, made.recipe, made.output):
                return False
            self._logged.add(key)
        return True

    def _service(self) -> Actor:
        """Return the actor of what no person asked for by name: this service."""
        return self.vault.actor(SERVICE, role="admin")

    def _ready(self, media: VirtualMedia, *, from_original: bool, reason: str = "") -> Showing:
        return Showing(
            kind=media.kind,
            state="ready",
            from_original=from_original,
            reason=reason,
            mime=media.mime,
            notes=tuple((note.key, note.text) for note in media.notes),
        )


def image_type(clip: Clip) -> str:
    """Return the media type of a picture that browsers show, or nothing."""
    return _type_of(clip, _IMAGE_TYPES)


def document_type(clip: Clip) -> str:
    """Return the media type of a document that browsers show without running anything, or nothing."""
    return _type_of(clip, _DOCUMENT_TYPES)


def _type_of(clip: Clip, types: Mapping[str, str]) -> str:
    return next((types[name] for name in sorted(format_names(clip.facts)) if name in types), "")


class RangeResponse(StreamingResponse):
    """A stream whose connection breaks off when the bytes turn out bad: a short answer never looks complete."""

    def __init__(self, pieces: Iterator[bytes], *, on_fault: Callable[[Exception], None], **options: Any) -> None:
        super().__init__(pieces, **options)
        self._on_fault = on_fault

    async def stream_response(self, send: Send) -> None:
        """Send the pieces. On a fault nothing more is sent, not even the end: the server then cuts the connection."""
        try:
            await super().stream_response(send)
        except (IntegrityError, StorageError) as err:
            await run_in_threadpool(self._on_fault, err)


def gathered(pieces: Iterator[bytes], least: int = SEND_BYTES) -> Iterator[bytes]:
    """Join small pieces: interleaved sound comes in hundreds of runs, and every piece sent costs a change of threads."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= least:
            yield held[0] if len(held) == 1 else b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)


def answer(
    request: Request, item: Servable, *, on_fault: Callable[[Exception], None], headers: dict[str, str] | None = None
) -> Response:
    """Answer a GET or HEAD for a range of `item`.

    The first piece is read before the status is sent, so that a fault found at once is a proper error page.
    """
    all_headers = {
        "Accept-Ranges": "bytes",
        "ETag": item.etag,
        "Content-Type": item.mime,
        "Content-Disposition": "inline",
        "Content-Security-Policy": EVIDENCE_SECURITY_POLICY,
        **(headers or {}),
    }
    if matches(request.headers.get("if-none-match"), item.etag):
        return Response(status_code=304, headers=all_headers)
    part = select(request.headers.get("range"), request.headers.get("if-range"), size=item.size, etag=item.etag)
    if part is None:
        return Response(status_code=416, headers={"Content-Range": f"bytes */{item.size}", "Accept-Ranges": "bytes"})
    all_headers["Content-Length"] = str(part.length)
    if part.partial:
        all_headers["Content-Range"] = f"bytes {part.start}-{part.end - 1}/{item.size}"
    status = 206 if part.partial else 200
    if request.method == "HEAD":
        return Response(status_code=status, headers=all_headers)
    pieces = gathered(item.read(part.start, part.end))
    try:
        first = next(pieces, b"")
    except (IntegrityError, StorageError) as err:
        on_fault(err)
        raise
    return RangeResponse(chain([first], pieces), on_fault=on_fault, status_code=status, headers=all_headers)
