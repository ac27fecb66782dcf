"""Run untrusted work in a child with limits: one persistent worker, one JSON object per line each way.

    with Sandbox("ingest.probing.worker", memory_bytes=2 << 30, cpu_s=60, deadline_s=60) as sandbox:
        answer = sandbox.call({"path": "/tmp/x"})

The child's module ends with `if __name__ == "__main__": serve(handle)`. Messages from the child bear the number of the
call: `{"call": n, "progress": …}` any number of times, then `{"call": n, "result": …}` or `"error"`. Nothing the child does can raise anything but a SandboxError in
the parent, keep the parent waiting beyond the deadline, or make it hold more than `ANSWER_BYTES_MAX`.
After a crash or a timeout the next call starts a fresh child.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import selectors
import signal
import subprocess
import sys
import threading
import time
import traceback
from typing import IO, TYPE_CHECKING, Any, Self

from hardware.confine import ISOLATION_VARIABLE, Limits
from hardware.errors import (
    CrashReason,
    SandboxCrashedError,
    SandboxStartError,
    SandboxTaskError,
    SandboxTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    Progress = Callable[[dict[str, Any]], None]

START_S = 30.0  # an interpreter with PyAV starts in 0.15 s; thirty seconds is a machine in deep trouble
ANSWER_BYTES_MAX = 8 << 20  # of one line; the largest honest answer is a frame index
STDERR_BYTES_MAX = 8 << 10  # the tail that is kept for the error
CALLS_MAX = 5000  # then a fresh child: a leak in a library must not be blamed on the file that comes last
_PIPE_BYTES = 1 << 16
_KEPT_VARIABLES = ("PATH", "TMPDIR", "LD_LIBRARY_PATH")


class Sandbox:
    """A worker in a process group of its own. Calls from several threads take turns."""

    def __init__(
        self,
        module: str,
        *,
        memory_bytes: int,
        cpu_s: int,
        deadline_s: float,
        network: bool = False,
        writable: Sequence[Path] = (),
    ) -> None:
        """Name the worker and its limits; nothing starts before `start` or the first call.

        `cpu_s` and `deadline_s` bound one call; `writable` are the only directories the child may write in.
        """
        self.module = module
        self.memory_bytes = memory_bytes
        self.cpu_s = cpu_s
        self.deadline_s = deadline_s
        self.network = network
        self.writable = tuple(str(path.resolve()) for path in writable)
        self.isolation: Mapping[str, str] = {}  # what the kernel allowed; known after `start`
        self._child: _Child | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the child now, so that the first call does not wait for it; no-op when one is running."""
        with self._lock:
            self._ready()

    def call(
        self,
        request: Mapping[str, Any],
        *,
        deadline_s: float | None = None,
        on_progress: Callable[[dict[str, Any]], None] | None = None,
    ) -> dict[str, Any]:
        """Have the child handle `request`; raises SandboxTimeoutError, SandboxCrashedError, SandboxTaskError."""
        limit_s = self.deadline_s if deadline_s is None else deadline_s
        with self._lock:
            child = self._ready()
            try:
                kind, content = child.exchange(request, time.monotonic() + limit_s, on_progress)
            except TimeoutError as err:
                self._discard()
                raise SandboxTimeoutError(self.module, limit_s, child.stderr_tail()) from err
            except BaseException:  # also a KeyboardInterrupt: a half-read answer must never meet the next request
                self._discard()
                raise
            if child.calls >= CALLS_MAX:
                self._discard()
        if kind == "result":
            return content
        raise SandboxTaskError(self.module, str(content.get("kind")), str(content.get("text")), child.stderr_tail())

    def abort(self) -> None:
        """Kill the child from any thread; a call under way raises SandboxCrashedError with reason `aborted`."""
        if (child := self._child) is not None:
            child.aborted = True
            child.process.kill()

    def close(self) -> None:
        """Kill the child and wait for it; a later call starts a new one."""
        with self._lock:
            self._discard()

    def _ready(self) -> _Child:
        if self._child is not None and self._child.process.poll() is not None:
            self._discard()
        if self._child is None:
            self._child = _Child(self)
            try:
                _, self.isolation = self._child.exchange(None, time.monotonic() + START_S, None)
            except TimeoutError as err:
                stderr = self._child.stderr_tail()
                self._discard()
                raise SandboxStartError(self.module, f"not ready after {START_S:g} s", stderr=stderr) from err
            except SandboxCrashedError as err:  # no request had been sent: whatever it died of, it cannot start
                self._discard()
                detail = (
                    f"{err.detail}: {err.stderr.strip().splitlines()[-1][:200]}" if err.stderr.strip() else err.detail
                )
                raise SandboxStartError(self.module, detail, stderr=err.stderr) from err
            except BaseException:
                self._discard()
                raise
        return self._child

    def _discard(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None


class _Child:
    """One running worker and the pipes to it."""

    def __init__(self, owner: Sandbox) -> None:
        self.module = owner.module
        self.cpu_s = owner.cpu_s
        self.calls = -1  # the greeting is message 0
        self.aborted = False
        self._stdout = bytearray()
        self._stderr = bytearray()
        read_end, self._lifeline = os.pipe()
        limits = Limits(
            memory_bytes=owner.memory_bytes, network=owner.network, writable=owner.writable, lifeline=read_end
        )
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "hardware.confine", limits.encode(), owner.module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                cwd="/",
                env=_environment(),
                pass_fds=(read_end,),
                start_new_session=True,
            )
        except OSError as err:
            os.close(self._lifeline)
            raise SandboxStartError(owner.module, err.strerror or str(err)) from err
        finally:
            os.close(read_end)
        for stream in (self._pipe("stdin"), self._pipe("stdout"), self._pipe("stderr")):
            os.set_blocking(stream.fileno(), False)

    def exchange(
        self,
        request: Mapping[str, Any] | None,
        until: float,
        on_progress: Callable[[dict[str, Any]], None] | None,
    ) -> tuple[str, dict[str, Any]]:
        """Send a request (None: await the greeting), follow the child until its answer: ("result" or "error", content)."""
        call = self.calls + 1
        message = {"call": call, "cpu_s": self.cpu_s, "request": request}
        pending = memoryview(b"" if request is None else json.dumps(message).encode() + b"\n")
        with selectors.DefaultSelector() as selector:
            selector.register(self._pipe("stdout"), selectors.EVENT_READ)
            selector.register(self._pipe("stderr"), selectors.EVENT_READ)
            if pending:
                selector.register(self._pipe("stdin"), selectors.EVENT_WRITE)
            while (left := until - time.monotonic()) > 0:
                for key, events in selector.select(left):
                    if events & selectors.EVENT_WRITE:
                        pending = pending[self._write(pending) :]
                        if not pending:
                            selector.unregister(key.fileobj)
                    elif key.fileobj is self.process.stderr:
                        self._read_stderr(selector)
                    elif (answer := self._read_answer(call, on_progress)) is not None:
                        self.calls = call
                        return answer
        raise TimeoutError

    def _write(self, pending: memoryview) -> int:
        try:
            return os.write(self._pipe("stdin").fileno(), pending[:_PIPE_BYTES])
        except BrokenPipeError:
            return len(pending)  # the end of stdout tells how the child died

    def _read_stderr(self, selector: selectors.BaseSelector) -> None:
        stream = self._pipe("stderr")
        data = os.read(stream.fileno(), _PIPE_BYTES)
        self._stderr += data
        del self._stderr[:-STDERR_BYTES_MAX]
        if not data:
            selector.unregister(stream)

    def _read_answer(
        self, call: int, on_progress: Callable[[dict[str, Any]], None] | None
    ) -> tuple[str, dict[str, Any]] | None:
        data = os.read(self._pipe("stdout").fileno(), _PIPE_BYTES)
        if not data:
            raise self._post_mortem()
        self._stdout += data
        if len(self._stdout) > ANSWER_BYTES_MAX:
            raise self._crash("protocol", f"an answer of more than {ANSWER_BYTES_MAX} bytes")
        if b"\n" not in data:
            return None
        *lines, rest = bytes(self._stdout).split(b"\n")
        self._stdout = bytearray(rest)
        for count, line in enumerate(lines, start=1):
            kind, content = self._parse(call, line)
            if kind == "progress":
                if on_progress is not None:
                    on_progress(content)
            elif count < len(lines) or rest:
                raise self._crash("protocol", "it spoke on after its answer")
            else:
                return kind, content
        return None

    def _parse(self, call: int, line: bytes) -> tuple[str, dict[str, Any]]:
        try:
            message = json.loads(line)
            number = message.pop("call")
            ((kind, content),) = message.items()
        except (ValueError, RecursionError, AttributeError, KeyError, TypeError) as err:
            raise self._crash("protocol", f"not a message: {line[:60]!r}") from err
        if number != call or kind not in {"progress", "result", "error"} or not isinstance(content, dict):
            raise self._crash("protocol", f"not an answer to call {call}: {line[:60]!r}")
        if kind == "error" and content.get("kind") == "MemoryError":
            raise self._crash("memory", "more memory than allowed")
        return kind, content

    def _post_mortem(self) -> SandboxCrashedError:
        """Say how a child that closed its end died."""
        try:
            status = self.process.wait(2)
        except subprocess.TimeoutExpired:
            return self._crash("protocol", "closed its answers but lives")
        with contextlib.suppress(BlockingIOError):
            self._stderr += os.read(self._pipe("stderr").fileno(), _PIPE_BYTES)
        if self.aborted:
            return self._crash("aborted", "killed on request")
        if status == -signal.SIGXCPU:
            return self._crash("cpu", f"more than {self.cpu_s} s of processor time")
        if status < 0:
            return self._crash("signal", signal.strsignal(-status) or f"signal {-status}")
        if b"MemoryError" in self._stderr or b"Cannot allocate memory" in self._stderr:
            return self._crash("memory", "more memory than allowed")
        return self._crash("exit", f"exit status {status}")

    def _crash(self, reason: CrashReason, detail: str) -> SandboxCrashedError:
        return SandboxCrashedError(self.module, reason, detail, calls=self.calls, stderr=self.stderr_tail())

    def stderr_tail(self) -> str:
        """Return the last of what the child wrote to its standard error."""
        return self._stderr[-STDERR_BYTES_MAX:].decode("utf-8", "backslashreplace")

    def end(self) -> None:
        """Kill the child and whatever it started, collect the exit status, close the pipes."""
        os.close(self._lifeline)  # the kernel kills the group, even when its leader was collected before
        if self.process.returncode is None:  # not collected: the number of the group is still its own
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for name in ("stdin", "stdout", "stderr"):
            self._pipe(name).close()

    def _pipe(self, name: str) -> IO[bytes]:
        stream: IO[bytes] = getattr(self.process, name)
        return stream


def _environment() -> dict[str, str]:
    """Return what little of the environment a decoder needs; no secret and no proxy goes in."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    return {
        **kept,
        "LANG": "C.UTF-8",
        "PYTHONSAFEPATH": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "MALLOC_ARENA_MAX": "2",  # an arena reserves 64 MiB of address space per thread, which RLIMIT_AS counts
        "OPENBLAS_NUM_THREADS": "1",  # the same, for numpy's threads
    }


# --- the child's side ---------------------------------------------------------------------------------------------


def serve(handler: Callable[[dict[str, Any], Progress], dict[str, Any]]) -> None:
    """Answer requests on stdin until it ends. Must run in the main thread of a child started by Sandbox."""
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints must not speak into the protocol

    call = 0

    def send(kind: str, content: Mapping[str, Any]) -> None:
        answers.write(json.dumps({"call": call, kind: content}).encode() + b"\n")
        answers.flush()

    def progress(content: dict[str, Any]) -> None:
        send("progress", content)

    send("result", json.loads(os.environ[ISOLATION_VARIABLE]))
    for line in requests:
        message = json.loads(line)
        call = message["call"]
        _allow_processor_time(message["cpu_s"])
        try:
            result = handler(message["request"], progress)
        except MemoryError:
            send("error", {"kind": "MemoryError", "text": "more memory than allowed"})
            return
        except Exception as err:  # noqa: BLE001 # the outermost loop of the child: the parent gets the error and the trace
            traceback.print_exc()
            send("error", {"kind": type(err).__name__, "text": str(err)[:2000]})
        else:
            send("result", result)


def _allow_processor_time(cpu_s: int) -> None:
    """Give this call `cpu_s` seconds: RLIMIT_CPU counts from the start of the process, so it moves with every call."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + cpu_s + 1, hard))
