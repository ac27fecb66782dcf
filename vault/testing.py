"""Small makers for tests of the log: a clock that obeys, statements that differ, a log to write to. No fakes of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vault.entry import Statement
from vault.log.sequencer import Log
from vault.log.signer import Signer

if TYPE_CHECKING:
    from pathlib import Path

ORIGIN = "example.com/test-log"
ACTOR = "0198c0de-0000-7000-8000-000000000001"


class FrozenClock:
    """A clock that stands still until it is told otherwise."""

    def __init__(self, now_ms: int = 1_790_000_000_000) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        """Tell the time in POSIX milliseconds."""
        return self.now_ms


def make_statement(number: int, *, clip: int | None = None, size: int = 1) -> Statement:
    """Make the statement of that number: sealing clip `clip`, by default a clip of its own."""
    return Statement(
        type="clip.sealed",
        id=f"0198c0de-0000-7000-8000-{number:012x}",
        actor_id=ACTOR,
        actor_role="custodian",
        fields={
            "clip": f"sha256:{number if clip is None else clip:064x}",
            "bytes": size,
            "chunk_bytes": 1 << 20,
            "chunk_root": f"{number:064x}",
            "media": "video",
            "condition": "whole",
            "body": f"sha256:{0:064x}",
        },
    )


def make_statements(start: int, end: int) -> list[Statement]:
    """Make the statements of numbers [start, end), each of its own clip."""
    return [make_statement(number) for number in range(start, end)]


def create_log(root: Path, *, seed: bytes = bytes(range(32))) -> Signer:
    """Create an empty log in `root`; return its signer. The key is the same each time unless `seed` differs."""
    signer = Signer(ORIGIN, seed)
    Log.create(root, signer, ORIGIN)
    return signer
