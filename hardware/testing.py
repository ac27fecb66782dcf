"""Doubles for tests: a confined worker that misbehaves on request. Started only by the tests of `hardware.sandbox`."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardware.sandbox import serve

if TYPE_CHECKING:
    from collections.abc import Callable

WORKER = "hardware.testing"  # the module name for Sandbox


def misbehave(request: dict[str, Any], progress: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Do what `request["do"]` says; see `ACTS`."""
    return ACTS[request["do"]](request, progress)


def _echo(request: dict[str, Any], progress: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    for step in range(request.get("steps", 0)):
        progress({"step": step})
    sys.stdout.write("noise that must not reach the protocol\n")
    return {"echo": request.get("say"), "pid": os.getpid(), "cwd": str(Path.cwd()), "environment": dict(os.environ)}


def _sleep(request: dict[str, Any], progress: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    if request.get("tell"):
        progress({"asleep": True})
    time.sleep(request.get("seconds", 600))
    return {}


def _spin(_: dict[str, Any], __: object) -> dict[str, Any]:
    while True:
        pass


def _hoard(request: dict[str, Any], _: object) -> dict[str, Any]:
    return {"bytes": len(bytearray(request["bytes"]))}


def _die(request: dict[str, Any], _: object) -> dict[str, Any]:
    sys.stderr.write("last words\n")
    sys.stderr.flush()
    if "signal" in request:
        os.kill(os.getpid(), request["signal"])
    os._exit(request.get("status", 3))


def _fail(_: dict[str, Any], __: object) -> dict[str, Any]:
    raise ValueError("the file makes no sense")


def _speak(request: dict[str, Any], _: object) -> dict[str, Any]:
    """Write raw bytes past `serve`, as a decoder taken over by its input could."""
    for descriptor in range(3, 16):
        try:
            os.write(descriptor, request["raw"].encode() * request.get("times", 1))
        except OSError:
            continue
    time.sleep(request.get("seconds", 0))
    return {}


def _connect(request: dict[str, Any], _: object) -> dict[str, Any]:
    with socket.create_connection(("127.0.0.1", request["port"]), 2):
        return {"connected": True}


def _write(request: dict[str, Any], _: object) -> dict[str, Any]:
    Path(request["path"]).write_text("written", encoding="utf-8")
    return {"written": True}


def _remove(request: dict[str, Any], _: object) -> dict[str, Any]:
    Path(request["path"]).unlink()
    return {"removed": True}


def _spawn(_: dict[str, Any], __: object) -> dict[str, Any]:
    child = subprocess.Popen(["sleep", "600"])
    return {"pid": child.pid}


def _flood(_: dict[str, Any], __: object) -> dict[str, Any]:
    sys.stderr.write("x" * (4 << 20) + json.dumps("the end"))
    sys.stderr.flush()
    raise ValueError("after a flood")


ACTS: dict[str, Callable[[dict[str, Any], Callable[[dict[str, Any]], None]], dict[str, Any]]] = {
    "echo": _echo,
    "sleep": _sleep,
    "spin": _spin,
    "hoard": _hoard,
    "die": _die,
    "fail": _fail,
    "speak": _speak,
    "connect": _connect,
    "write": _write,
    "remove": _remove,
    "spawn": _spawn,
    "flood": _flood,
}


if __name__ == "__main__":
    serve(misbehave)
