"""Derivatives of clips: made at most once, one at a time, in a confined child.

Knows jobs and their order; the files are `shelf`'s, the making is `worker`'s. `finished`, if set, is called before a
derivative gets its name, so that the log can speak of it before anyone sees it; what it raises fails the job. The queue
lives in memory: whatever it loses is asked for again by the next viewer.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from hardware.errors import SandboxCrashedError, SandboxError, SandboxTaskError, SandboxTimeoutError
from hardware.sandbox import Sandbox
from transcode.derived.shelf import Derivative, FileAccess, Shelf
from transcode.errors import DerivativeError, DerivativeMissingError, TranscodeError, UnsupportedMediaError
from transcode.plan import plan_playback
from transcode.virtual.media import VirtualMedia
from vault.errors import FixityMismatchError, LiuhenError
from vault.model import Digest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vault.model import Clip
    from vault.vault import Vault

_log = logging.getLogger(__name__)

RECIPE_VERSION = 1  # change it when a recipe's output changes: older derivatives are then made again
MEMORY_BYTES = 2 << 30  # of address space; 4K HEVC with two threads needs 0.8 GB
DEADLINE_S = 6 * 3600.0  # three hours of HEVC on two busy cores
RESERVE_BYTES = 512 << 20  # of disk that derivatives leave alone: evidence comes first
BYTES_A_SECOND_MAX = 500_000  # 3 Mbit/s of picture, some sound, a fifth more
# What is tried, in order: a remux that cannot be faithful becomes a proxy.
RECIPES = {"direct": ("remux", "proxy"), "remux": ("remux", "proxy"), "proxy": ("proxy",), "audio": ("sound",)}

State = Literal["pending", "running", "done", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """How far a clip's derivative is; a snapshot."""

    clip: Digest
    recipe: str
    state: State
    progress: float = 0.0  # 0..1
    eta_s: float | None = None
    reason: str = ""  # message key: why a derivative is needed
    error: str = ""  # English; "" unless failed
    error_key: str = ""


@dataclass(slots=True, kw_only=True)
class _Task:
    clip: Clip
    recipes: tuple[str, ...]
    demuxer: str
    job: Job
    began: float = 0.0
    over: threading.Event = field(default_factory=threading.Event)


class Derivatives:
    """The derivatives of one vault. One child works at a time; asking twice for a clip joins the same job."""

    def __init__(
        self,
        directory: Path,
        vault: Vault,
        *,
        finished: Callable[[Derivative], None] | None = None,
        trusted: Callable[[Derivative], bool] | None = None,
        memory_bytes: int = MEMORY_BYTES,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self.finished = finished
        self._trusted = trusted or (lambda _: True)  # a file whose making nobody logged does not count
        self._vault = vault
        self._shelf = Shelf(directory)
        self._memory_bytes = memory_bytes
        self._deadline_s = deadline_s
        self._tasks: dict[Digest, _Task] = {}
        self._queue: queue.Queue[_Task | None] = queue.Queue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._sandbox: Sandbox | None = None
        self._closing = False
        self._shelf.sweep()

    # --- asking ----------------------------------------------------------------------------------------------------

    def ensure(self, clip: Clip, *, again: bool = False) -> Job:
        """Return the clip's job, starting it when there is neither a derivative nor a job. `again` retries a failure.

        Raises DerivativeError when the plan knows no derivative for this clip.
        """
        with self._lock:
            task = self._tasks.get(clip.id)
            if task is not None and not (again and task.job.state == "failed"):
                if task.job.state != "done" or self._find(clip) is not None:
                    self._start()
                    return _with_eta(task)
                del self._tasks[clip.id]  # done once, but the cache was emptied since
            task = self._plan(clip)
            found = self._find(clip)
            if found is not None:
                return replace(task.job, recipe=found.recipe, state="done", progress=1.0)
            self._tasks[clip.id] = task
            self._queue.put(task)
            self._start()
            return task.job

    def wait(self, clip: Clip, timeout_s: float) -> Job:
        """Return the clip's job when it is over, or as it stands after `timeout_s`."""
        with self._lock:
            task = self._tasks.get(clip.id)
        if task is None:
            return self.ensure(clip)
        task.over.wait(timeout_s)
        return _with_eta(task)

    def describe(self, clip: Clip) -> Derivative:
        """Return what is known of the clip's derivative; raises DerivativeMissingError."""
        found = self._find(clip)
        if found is None:
            raise DerivativeMissingError(f"clip {clip.id} has no derivative")
        return found

    def open(self, clip: Clip) -> FileAccess:
        """Open the clip's finished derivative; raises DerivativeMissingError, FixityMismatchError.

        A file with other bytes than were derived is removed, so that the next request makes it again.
        """
        found = self.describe(clip)
        try:
            return FileAccess(self._shelf.path(clip.id, found.recipe), found.output)
        except FixityMismatchError:
            self._shelf.discard(clip.id, found.recipe)
            raise
        except FileNotFoundError as err:
            raise DerivativeMissingError(f"the derivative of clip {clip.id} was removed") from err

    def close(self) -> None:
        """Stop: the child is killed, its half file removed; jobs that were waiting are simply asked for again."""
        with self._lock:
            self._closing = True
            thread, sandbox = self._thread, self._sandbox
        self._queue.put(None)
        if sandbox is not None:
            sandbox.abort()
        if thread is not None:
            thread.join()

    def _find(self, clip: Clip) -> Derivative | None:
        for recipe in RECIPES.get(plan_playback(clip.facts).kind, ()):
            found = self._shelf.find(clip.id, f"{recipe}-{RECIPE_VERSION}")
            if found is not None and self._trusted(found):
                return found
        return None

    # --- the work --------------------------------------------------------------------------------------------------

    def _plan(self, clip: Clip) -> _Task:
        plan = plan_playback(clip.facts)
        recipes = RECIPES.get(plan.kind, ())
        if not recipes:
            raise DerivativeError(f"clip {clip.id}: there is nothing to derive ({plan.kind})", key=plan.reason)
        job = Job(clip=clip.id, recipe=recipes[0], state="pending", reason=plan.reason)
        return _Task(clip=clip, recipes=recipes, demuxer=plan.demuxer, job=job)

    def _start(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._serve, name="derivatives", daemon=True)
            self._thread.start()

    def _serve(self) -> None:
        while (task := self._queue.get()) is not None and not self._closing:
            self._work(task)

    def _work(self, task: _Task) -> None:
        task.began = time.monotonic()
        error: tuple[str, str] = ("the worker stopped for a reason it did not give", "derivative.failed")
        try:
            error = self._try_recipes(task)
        except (LiuhenError, SandboxError, OSError) as err:
            error = (str(err), _key_of(err))
        finally:
            state: State = "failed" if error[0] else "done"
            progress = 1.0 if state == "done" else task.job.progress
            task.job = replace(task.job, state=state, progress=progress, error=error[0], error_key=error[1])
            _log.info("derivative_%s clip=%s recipe=%s error=%s", state, task.clip.id, task.job.recipe, error[0])
            task.over.set()

    def _try_recipes(self, task: _Task) -> tuple[str, str]:
        """Make the first recipe that works; ("", "") when one did, else what went wrong with the last."""
        error = ("", "")
        for recipe in task.recipes:
            task.job = replace(task.job, recipe=f"{recipe}-{RECIPE_VERSION}", state="running", progress=0.0)
            try:
                self._make(task, recipe)
            except (TranscodeError, SandboxTaskError) as err:
                error = (str(err), _key_of(err))
                if _key_of(err) in {"derivative.fixity", "derivative.disk_full"}:
                    break
            else:
                return "", ""
        return error

    def _make(self, task: _Task, recipe: str) -> None:
        name = task.job.recipe
        part = self._shelf.part(task.clip.id, name)
        try:
            answer = self._run_child(task, recipe, part)
            if "failure" in answer:
                raise DerivativeError(str(answer["text"]), key=str(answer["failure"]))
            made = _made(task, name, answer)
            _check_playable(part, made.output)
            if self.finished is not None:
                self.finished(made)
            self._shelf.place(part, made)
        finally:
            part.unlink(missing_ok=True)

    def _run_child(self, task: _Task, recipe: str, part: Path) -> dict[str, Any]:
        _, entry = self._vault.sealed_entry(task.clip)  # the log says what the bytes must be, not the catalogue
        sealed = entry.statement.fields
        request = {
            "object": str(self._vault.objects.path(task.clip.id).resolve()),
            "chunk_list": str(self._vault.objects.chunk_list_path(task.clip.id).resolve()),
            "size": int(sealed["bytes"]),
            "chunk_bytes": int(sealed["chunk_bytes"]),
            "chunk_root": str(sealed["chunk_root"]),
            "demuxer": task.demuxer,
            "recipe": recipe,
            "output": str(part.resolve()),
            "output_bytes_max": _output_limit(task.clip, part.parent),
        }
        sandbox = Sandbox(
            "transcode.derived.worker",
            memory_bytes=self._memory_bytes,
            cpu_s=int(self._deadline_s * 2),
            deadline_s=self._deadline_s,
            writable=(part.parent,),
        )
        with self._lock:
            if self._closing:
                raise DerivativeError("stopped", key="derivative.stopped")
            self._sandbox = sandbox
        with sandbox:
            return sandbox.call(request, on_progress=lambda content: _advance(task, content))


def _advance(task: _Task, content: dict[str, Any]) -> None:
    share = content.get("share")
    if isinstance(share, float) and 0 <= share <= 1:
        task.job = replace(task.job, progress=max(task.job.progress, share))


def _with_eta(task: _Task) -> Job:
    job = task.job
    if job.state != "running" or job.progress < 0.01:
        return job
    return replace(job, eta_s=(time.monotonic() - task.began) * (1 - job.progress) / job.progress)


def _output_limit(clip: Clip, directory: Path) -> int:
    """Return how large the derivative may grow; raises DerivativeError when the disk is nearly full."""
    free = os.statvfs(directory)
    room = free.f_bavail * free.f_frsize - RESERVE_BYTES
    if room <= 0:
        raise DerivativeError(
            "the disk is nearly full; derivatives leave the rest to evidence", key="derivative.disk_full"
        )
    seconds = clip.duration_s or clip.size / 10_000  # a bit rate of 80 kbit/s, when nothing better is known
    return min(room, 2 * clip.size + int(seconds * BYTES_A_SECOND_MAX) + (64 << 20))


def _check_playable(part: Path, output: Digest) -> None:
    source = FileAccess(part, output)
    try:
        VirtualMedia.open(source, identity=part.name)
    except UnsupportedMediaError as err:
        raise DerivativeError(f"what was made cannot be played: {err}", key=err.key) from err
    finally:
        source.close()


def _made(task: _Task, recipe: str, answer: dict[str, Any]) -> Derivative:
    return Derivative(
        clip=task.clip.id,
        recipe=recipe,
        reason=task.job.reason,
        output=Digest("sha256", bytes.fromhex(answer["sha256"])),
        size=int(answer["bytes"]),
        picture=str(answer["picture"]),
        sound=str(answer["sound"]),
        pictures=int(answer["pictures"]),
        sounds=int(answer["sounds"]),
        notes=tuple((str(key), str(text)) for key, text in answer["notes"]),
        tools={str(name): str(version) for name, version in answer["tools"].items()},
    )


def _key_of(err: Exception) -> str:
    if isinstance(err, SandboxTaskError) and err.kind in {"FixityMismatchError", "ObjectMissingError"}:
        return "derivative.fixity"
    if isinstance(err, SandboxTimeoutError):
        return "derivative.timeout"
    if isinstance(err, SandboxCrashedError):
        return "derivative.crashed"
    return str(getattr(err, "key", "derivative.failed"))
