"""How fast does footage come in? One long recording (warm and cold) and many small files, beside the usual tools."""

from __future__ import annotations

import shlex
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import footage
from benchmarks.harness import Contender, Experiment, cool, warm

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GB = 1e9
REFERENCES = ("openssl dgst", "openssl dgst + cp + sync")


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much to measure with. Needs about three times the recording on disk."""

    recording_bytes: int
    photos: int
    rounds: int


FULL = Size(recording_bytes=1 << 30, photos=2000, rounds=5)
QUICK = Size(recording_bytes=256 << 20, photos=200, rounds=2)


def experiments(scratch: Path, size: Size) -> list[Experiment]:
    """Make the cards and state the experiments."""
    card = footage.sample_card(scratch)
    clip = next(card.glob("DCIM/100MEDIA/*091502.MP4"))
    photo = next(card.glob("DCIM/103PHOTO/*.JPG"))
    long_card, photo_card = scratch / "long", scratch / "photos"
    recording = footage.long_recording(long_card, clip, size.recording_bytes)
    photo_bytes = footage.photographs(photo_card, photo, size.photos)
    pictures = sorted(photo_card.rglob("*.JPG"))
    gigabytes = recording.stat().st_size / GB
    question = f"How long until a recording of {gigabytes:.2f} GB is safe?"
    method = (
        "The recording is real footage repeated, on the same disk as the copy. `sync` of the peers is `sync FILE`, the "
        "cheapest that is honest."
    )
    return [
        Experiment(
            name="Large file, warm",
            question=question,
            method=f"{method} The source is in the page cache.",
            contenders=_contenders(scratch, long_card, [recording], lambda: warm(recording)),
            work=gigabytes,
            unit="GB",
            references=REFERENCES,
            rounds=size.rounds,
        ),
        Experiment(
            name="Large file, cold",
            question=question,
            method=f"{method} The source is dropped from the page cache before each run (checked with mincore).",
            contenders=_contenders(scratch, long_card, [recording], lambda: cool(recording)),
            work=gigabytes,
            unit="GB",
            references=REFERENCES,
            rounds=size.rounds,
        ),
        Experiment(
            name="Many small files",
            question=f"How long until {size.photos} photographs ({photo_bytes / GB:.2f} GB) are safe?",
            method="The photographs are in the page cache. The peers sync once, at the end (`sync -f`).",
            contenders=_contenders(scratch, photo_card, pictures, lambda: warm(*pictures)),
            work=size.photos,
            unit="files",
            references=REFERENCES,
            rounds=size.rounds,
        ),
    ]


def _contenders(scratch: Path, card: Path, files: list[Path], before: Callable[[], None]) -> list[Contender]:
    copied, data = scratch / "copied", scratch / "vault"
    only = files[0] if len(files) == 1 else None

    def clean() -> None:
        shutil.rmtree(copied, ignore_errors=True)
        shutil.rmtree(data, ignore_errors=True)

    def prepare() -> None:
        clean()
        copied.mkdir()
        before()

    def shell(name: str, *parts: str, note: str = "") -> Contender:
        return Contender(name=name, command=["sh", "-ec", "; ".join(parts)], before=prepare, after=clean, note=note)

    def ours(name: str, what: str, note: str) -> Contender:
        command = [sys.executable, "-P", "-m", "benchmarks.ours", what, str(card), str(data)]
        return Contender(name=name, command=command, before=prepare, after=clean, note=note, inner=True)

    source = shlex.quote(str(only or card))
    each = "" if only else f"find {source} -type f -print0 | xargs -0 "
    named = f" {source}" if only else ""
    sha256sum, openssl = f"{each}sha256sum{named} > /dev/null", f"{each}openssl dgst -sha256{named} > /dev/null"
    target = shlex.quote(str(copied))
    copy, sync = f"cp -r {source} {target}/", f"sync {target}/*" if only else f"sync -f {target}"
    whole = [sys.executable, "-P", "-m", "api.cli.main", "--data", str(data)]
    command = f"{shlex.join([*whole, 'init'])} > /dev/null; {shlex.join([*whole, 'ingest', str(card)])} > /dev/null"
    return [
        shell("openssl dgst", openssl, note="reads and digests, writes nothing: the one-core bound"),
        shell("sha256sum", sha256sum, note="GNU coreutils; some builds do not use the SHA extensions"),
        shell("cp + sync", copy, sync, note="no digest at all"),
        shell("openssl dgst + cp + sync", openssl, copy, sync),
        shell("sha256sum + cp + sync", sha256sum, copy, sync),
        ours(
            "liuhen: read and durable",
            "copy",
            "one read, SHA-256 and chunk list, every byte durable; large files also read back behind the copy",
        ),
        ours(
            "liuhen: sealed",
            "seal",
            "the above, then read back from the disk and compared, looked into, logged, signed, proof verified",
        ),
        shell("liuhen init + ingest", command, note="the two whole commands, start of Python included"),
    ]
