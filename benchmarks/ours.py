"""Our contenders, each in a process of its own that measures only the work: `python -P -m benchmarks.ours WHAT …`.

Starting Python and creating the vault are left out of the figures; the whole command is a contender by itself.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hardware.volume import VolumeRecorder
from ingest.dock import dock
from ingest.probing.probe import Prober
from ingest.pull import pull
from vault import durable
from vault.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Iterator


def core_seconds() -> float:
    """Return what this process and its ended children have used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


@contextmanager
def measured() -> Iterator[dict[str, float]]:
    """Time a block; the outcome stands in the dict afterwards."""
    told: dict[str, float] = {}
    cores, started = core_seconds(), time.perf_counter()
    yield told
    told["wall_s"] = time.perf_counter() - started
    told["core_s"] = core_seconds() - cores


def copy(source: Path, data: Path) -> dict[str, float]:
    """Read a card to its end, digest it, and have every byte durable: the device could be unplugged."""
    with Vault.init(data) as vault, VolumeRecorder(source) as recorder, measured() as told:
        copies = []
        for item in recorder.inventory().items:
            with recorder.open(item) as stream:
                copies.append(pull(stream, vault.objects.begin(), sm3=False, on_bytes=lambda _: None))
        durable.sync_file_system(data)
    return told


def seal(source: Path, data: Path) -> dict[str, float]:
    """Dock a card to the end: inventory, copy, read back, look into it, log, prove."""
    with Vault.init(data) as vault, VolumeRecorder(source) as recorder:
        actor = vault.actor("benchmark", role="custodian")
        with measured() as told, Prober() as prober:
            report = dock(vault, recorder, actor, prober, on_event=lambda _: None)
    if not report.ok:
        raise SystemExit(f"{report.count('failed')} files failed")
    return told


def main() -> None:
    """Run one contender and print its figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["copy", "seal"])
    parser.add_argument("source", type=Path)
    parser.add_argument("data", type=Path)
    chosen = parser.parse_args()
    work = {"copy": copy, "seal": seal}[chosen.what]
    print(json.dumps(work(chosen.source, chosen.data)))


if __name__ == "__main__":
    main()
