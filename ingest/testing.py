"""Doubles for tests: a prober whose child misbehaves, as one taken over by its input could."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, ClassVar

from hardware.sandbox import serve
from ingest.probing.probe import Prober

if TYPE_CHECKING:
    from collections.abc import Callable


def _crash() -> None:
    os.abort()


def _hang() -> None:
    time.sleep(600)


def _hoard() -> None:
    bytearray(8 << 30)


def _fail() -> None:
    raise ValueError("no such thing")


def _nested(depth: int) -> object:
    return [_nested(depth - 1)] if depth else "bottom"


ACTS: dict[str, Callable[[], None]] = {"crash": _crash, "hang": _hang, "hoard": _hoard, "fail": _fail}
WHOLE: dict[str, Any] = {"media": "video", "condition": "whole", "reason": "", "facts": {"container": "mp4"}}
LIES: dict[str, dict[str, Any]] = {
    "forge": {"number": 1_000_000},
    "float": {"facts": {"duration_ms": 1.5}},
    "huge_number": {"facts": {"duration_ms": 1 << 60}},
    "deep": {"facts": {"a": _nested(50)}},
    "odd": {"media": ["video"]},
    "unmotivated": {"condition": "damaged"},
    "chatter": {"facts": {"tags": {str(number): "x" * 300 for number in range(400)}, "container": "mp4"}},
    "surrogate": {"facts": {"container": "mp4\udcff\0"}},
}


class HostileProber(Prober):
    """A prober whose child does what the names of the files say: see `misbehave`."""

    worker: ClassVar[str] = "ingest.testing"


def misbehave(request: dict[str, Any], progress: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Describe every file as sound, but for names that begin with an act or a lie, and those that it forgets.

    `crash.mp4` is spared when it is looked at without a decoder, `crash.crash` is not.
    """
    for file in request["files"]:
        first, _, second = file["name"].partition(".")
        part = first if request["decode"] else second
        ACTS.get(part, lambda: None)()
        if part != "forget":
            progress({"number": file["number"], **WHOLE, **LIES.get(part, {})})
    return {}


if __name__ == "__main__":
    serve(misbehave)
