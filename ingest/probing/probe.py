"""What is in a file? Asked of confined children, so that no file can harm the service.

    with Prober(workers=2) as prober:
        facts = prober.describe(path, "DCIM/AA00000_BB0000_20260304050607.MP4", modified_ns=…)

`Facts.facts` is JSON of strings, integers, booleans, lists and objects (no floating-point numbers), at most 32 KiB:

- `container`: mp4 mov 3gp m4a mkv webm avi mpegts mpegps flv asf dhav h264 hevc wav mp3 aac amr ogg flac jpeg png gif bmp
  webp tiff heic avif pdf office ole rtf text zip …; absent when unknown
- `streams`: [{index, id (the container's number), kind: video|audio|image|subtitle|data, codec (FFmpeg's name), tag, profile, width, height,
  frame_rate "25/1", frames, pixels, bits, rotation (degrees clockwise), sample_rate, channels, layout, bit_rate}]
- `duration_ms`, `bit_rate`, `tags` (the container's own), `index`: first|last, `fragments`
- `start`: {at (ISO 8601 with zone), source: container|exif|name|mtime, confidence: high|medium|low, zone, claims}
- `gps`: {source: exif|container|nmea, count, first: {lat, lon, alt, at}, last, track}; `raw_gps`: tracks left unread
- `exif`: {make, model, date_time_original, …}
- `checked`: structure (its own lengths and index) | decoded | demuxed (read to its end) | partly
- `reason`: why it is damaged; `probe`: present only when the look was cut short (`timed out`, `crashed: memory` …)
- `named_as`: what the name claims, where the content is something else; `tools`: versions
"""

from __future__ import annotations

import json
import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, get_args

from hardware.errors import SandboxCrashedError, SandboxError, SandboxStartError, SandboxTaskError, SandboxTimeoutError
from hardware.sandbox import Sandbox
from ingest.probing.sniff import by_name
from vault.model import Condition, MediaType

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

MEMORY_BYTES = 1 << 30  # of address space: the child itself takes 0.2 GiB, an 8K picture with its references 0.5 GiB
DEADLINE_S = 60.0  # for one file; the longest honest look reads a 30 GB stream without an index
BUDGET_SHARE = 0.5  # of the deadline, after which reading to the end is given up and the facts say `partly`
FACTS_BYTES_MAX = 32 << 10
REASON_CHARACTERS_MAX = 300
BATCH_FILES = 16  # in one request
SMALL_BYTES = 16 << 20  # larger files have a request, and a deadline, of their own
_DEPTH_MAX = 8
_INTEGER_MAX = (1 << 53) - 1  # what canonical JSON can hold
_MEDIA: dict[str, MediaType] = {media: media for media in get_args(MediaType)}
_CONDITIONS: dict[str, Condition] = {condition: condition for condition in get_args(Condition)}
_DROPPED_FIRST = ("tags", "exif", "gps", "start", "streams")  # when the facts are too large


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is in one file, and whether it is whole."""

    media: MediaType
    condition: Condition
    reason: str  # why it is damaged, for people
    facts: dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    number: int
    path: Path
    name: str
    modified_ns: int | None

    def to_json(self) -> dict[str, Any]:
        return {"number": self.number, "path": str(self.path), "name": self.name, "modified_ns": self.modified_ns}


class Prober:
    """A few confined children that look into files. Thread-safe."""

    worker: ClassVar[str] = "ingest.probing.worker"

    def __init__(self, *, workers: int = 2, memory_bytes: int = MEMORY_BYTES, deadline_s: float = DEADLINE_S) -> None:
        """Start nothing yet; `deadline_s` bounds one file, `memory_bytes` one child."""
        self._deadline_s = deadline_s
        self._sandboxes = [
            Sandbox(self.worker, memory_bytes=memory_bytes, cpu_s=max(1, int(deadline_s)), deadline_s=deadline_s)
            for _ in range(workers)
        ]
        self._idle: queue.SimpleQueue[Sandbox] = queue.SimpleQueue()
        for sandbox in self._sandboxes:
            self._idle.put(sandbox)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="probe")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the children."""
        self._threads.shutdown(cancel_futures=True)
        for sandbox in self._sandboxes:
            sandbox.close()

    def warm(self) -> None:
        """Start the children in the background, so that the first file does not wait for them."""
        for sandbox in self._sandboxes:
            threading.Thread(target=_start_quietly, args=(sandbox,), daemon=True).start()

    def describe(self, path: Path, name: str, *, modified_ns: int | None = None) -> Facts:
        """Look into one file; see `describe_many`."""
        return self.describe_many([(path, name)], modified_ns=[modified_ns])[0]

    def describe_many(
        self, files: Sequence[tuple[Path, str]], *, modified_ns: Sequence[int | None] = ()
    ) -> list[Facts]:
        """Look into files at `path` that the device called `name`; returns their facts in order.

        Whatever is in a file, the answer is facts: a file that kills or stalls its child is judged by its structure
        alone and says so. Raises SandboxError only when no child can be started or a path cannot be opened.
        """
        times = list(modified_ns) or [None] * len(files)
        todo = [
            _File(number=number, path=path, name=name, modified_ns=at)
            for number, ((path, name), at) in enumerate(zip(files, times, strict=True))
        ]
        batches = _batches(todo, len(self._sandboxes))
        found: dict[int, Facts] = {}
        if len(batches) == 1:
            found = self._run(batches[0])
        else:
            for part in self._threads.map(self._run, batches):
                found |= part
        return [found[number] for number in range(len(todo))]

    def _run(self, batch: list[_File]) -> dict[int, Facts]:
        sandbox = self._idle.get()
        try:
            return self._describe(sandbox, batch)
        finally:
            self._idle.put(sandbox)

    def _describe(self, sandbox: Sandbox, batch: list[_File]) -> dict[int, Facts]:
        found: dict[int, Facts] = {}
        left = batch
        while left:
            try:
                self._ask(sandbox, left, found)
            except (SandboxTimeoutError, SandboxCrashedError, SandboxTaskError) as err:
                _raise_if_ours(err)
            left = [file for file in left if file.number not in found]
            if left:
                # The first without an answer is the suspect. It is tried once more by itself, in a fresh child: the
                # fault may have been the memory or the time that earlier files of the batch took.
                suspect, left = left[0], left[1:]
                found[suspect.number] = self._alone(sandbox, suspect)
        return found

    def _ask(
        self, sandbox: Sandbox, files: list[_File], found: dict[int, Facts], *, decode: bool = True
    ) -> dict[int, Facts]:
        """Send one request; answers are put into `found` as they come, so that they survive a crash."""
        wanted = {file.number for file in files}

        def take(message: dict[str, Any]) -> None:
            number = message.pop("number", None)
            if not isinstance(number, int) or number not in wanted or number in found:
                raise SandboxCrashedError(self.worker, "protocol", "an answer for another file")
            try:
                found[number] = parse_facts(message)
            except ValueError as err:
                raise SandboxCrashedError(self.worker, "protocol", str(err)) from err

        request = {
            "files": [file.to_json() for file in files],
            "decode": decode,
            "budget_s": self._deadline_s * BUDGET_SHARE,
        }
        sandbox.call(request, on_progress=take)
        return found

    def _alone(self, sandbox: Sandbox, file: _File) -> Facts:
        sandbox.close()
        try:
            return self._ask(sandbox, [file], {})[file.number]
        except (SandboxTimeoutError, SandboxCrashedError, SandboxTaskError, KeyError) as err:
            if isinstance(err, SandboxError):
                _raise_if_ours(err)
            return self._without_decoder(sandbox, file, _words(err))

    def _without_decoder(self, sandbox: Sandbox, file: _File, probe: str) -> Facts:
        """Judge by structure alone: pure Python, bounded, no foreign parser."""
        try:
            facts = self._ask(sandbox, [file], {}, decode=False)[file.number]
        except (SandboxTimeoutError, SandboxCrashedError, SandboxTaskError, KeyError) as err:
            if isinstance(err, SandboxError):
                _raise_if_ours(err)
            reason = "it cannot be examined"
            return Facts(
                media=by_name(file.name).media,
                condition="damaged",
                reason=reason,
                facts={"probe": probe, "reason": reason},
            )
        return Facts(
            media=facts.media, condition=facts.condition, reason=facts.reason, facts={**facts.facts, "probe": probe}
        )


def parse_facts(message: dict[str, Any]) -> Facts:
    """Check what a child says before it goes into a record; raises ValueError."""
    media, condition = _MEDIA.get(str(message.get("media"))), _CONDITIONS.get(str(message.get("condition")))
    reason, facts = message.get("reason"), message.get("facts")
    if media is None or condition is None:
        raise ValueError("no media type or no condition")
    if not isinstance(reason, str) or bool(reason) != (condition == "damaged") or not isinstance(facts, dict):
        raise ValueError("no reason or no facts")
    cleaned = {str(_clean(name)): _clean(value) for name, value in facts.items()}
    for name in _DROPPED_FIRST:
        if len(json.dumps(cleaned, ensure_ascii=False).encode()) <= FACTS_BYTES_MAX:
            break
        cleaned.pop(name, None)
    else:
        cleaned = {"reason": reason[:REASON_CHARACTERS_MAX]} if reason else {}
    return Facts(media=media, condition=condition, reason=str(_clean(reason))[:REASON_CHARACTERS_MAX], facts=cleaned)


def _clean(value: object, depth: int = 0) -> object:
    """Return JSON that a record can hold: valid Unicode, integers that are exact everywhere, no floats, no NUL."""
    if depth > _DEPTH_MAX:
        raise ValueError("facts are nested too deeply")
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode().replace("\0", "")
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        if abs(value) > _INTEGER_MAX:
            raise ValueError("a number in the facts is too large")
        return value
    if isinstance(value, list):
        return [_clean(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {str(_clean(name, depth + 1)): _clean(item, depth + 1) for name, item in value.items()}
    raise ValueError(f"facts hold a {type(value).__name__}")


def _batches(files: list[_File], workers: int) -> list[list[_File]]:
    """Share files out: large ones alone, small ones together, but never fewer batches than workers need."""
    large: list[list[_File]] = []
    small: list[_File] = []
    for file in files:
        if file.path.stat().st_size > SMALL_BYTES:
            large.append([file])
        else:
            small.append(file)
    size = max(1, min(BATCH_FILES, -(-len(small) // workers)))
    return large + [small[at : at + size] for at in range(0, len(small), size)]


def _raise_if_ours(err: SandboxError) -> None:
    """Let pass what no file can cause: a child that does not start, a path that cannot be opened."""
    if isinstance(err, SandboxStartError) or (isinstance(err, SandboxCrashedError) and err.reason == "aborted"):
        raise err
    if isinstance(err, SandboxTaskError) and err.kind in {"FileNotFoundError", "PermissionError", "IsADirectoryError"}:
        raise err


def _words(err: Exception) -> str:
    match err:
        case SandboxTimeoutError():
            return "timed out"
        case SandboxCrashedError():
            return f"crashed: {err.reason}"
        case SandboxTaskError():
            return f"failed: {err.kind}"
        case _:
            return "gave no answer"


def _start_quietly(sandbox: Sandbox) -> None:
    """Start a child; whoever asks it first is told why it cannot start."""
    try:
        sandbox.start()
    except SandboxError:
        return
