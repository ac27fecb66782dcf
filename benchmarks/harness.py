"""Named experiments: contenders run in turn A B C A B C, so that a busy minute hurts all alike.

A contender is a command line; everything it starts is measured as a whole: wall time, and core-seconds of it and its
children. A contender of ours may print `{"wall_s": …, "core_s": …}` as its last line: then that is taken, because
starting Python is no part of the question (each report says where this is so).
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import platform
import re
import resource
import statistics
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CORE_BOUND = 0.9  # core-seconds per second from which one core counts as the limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One way to do the work. `before` prepares each run, `after` removes what it made; neither is timed."""

    name: str
    command: Sequence[str]
    note: str = ""
    before: Callable[[], None] = lambda: None
    after: Callable[[], None] = lambda: None
    inner: bool = False  # the command measures itself and says so on its last line


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One timed run."""

    wall_s: float
    core_s: float
    disk_wait: float = 0.0  # share of the time in which something on this machine waited for the disk
    core_wait: float = 0.0  # and for a free core: a busy machine


@dataclass(slots=True, kw_only=True)
class Result:
    """All runs of one contender."""

    contender: Contender
    runs: list[Run] = field(default_factory=list)

    @property
    def wall_s(self) -> float:
        """The median."""
        return statistics.median(run.wall_s for run in self.runs)

    @property
    def core_s(self) -> float:
        """The median."""
        return statistics.median(run.core_s for run in self.runs)

    @property
    def spread_s(self) -> tuple[float, float]:
        """The shortest and the longest run."""
        return min(run.wall_s for run in self.runs), max(run.wall_s for run in self.runs)

    @property
    def limit(self) -> str:
        """What held it up, as far as core-seconds and the kernel's pressure figures tell."""
        cores = self.core_s / self.wall_s
        if cores >= CORE_BOUND * (os.cpu_count() or 1):
            return f"all cores ({cores:.1f} busy)"
        if cores >= CORE_BOUND:
            return f"one core ({cores:.1f} busy)"
        disk = statistics.median(run.disk_wait for run in self.runs)
        core = statistics.median(run.core_wait for run in self.runs)
        waited = f"{cores:.1f} cores busy, disk awaited {disk:.0%} of the time"
        return f"disk ({waited})" if disk >= core else f"other work on this machine ({waited})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A question, how it is answered, and the contenders."""

    name: str
    question: str
    method: str
    contenders: Sequence[Contender]
    work: float  # how much one run does, in `unit`
    unit: str  # of the rate: "GB" gives GB/s
    references: Sequence[str]  # the contenders all others are compared with
    rounds: int = 5


def run_experiment(experiment: Experiment, say: Callable[[str], None]) -> list[Result]:
    """Run one warm-up round, then the measured rounds."""
    results = [Result(contender=contender) for contender in experiment.contenders]
    for number in range(experiment.rounds + 1):
        for result in results:
            run = run_once(result.contender)
            if number:  # round 0 warms up
                result.runs.append(run)
            say(f"{experiment.name} {number}/{experiment.rounds} {result.contender.name}: {run.wall_s:.2f} s")
    return results


def run_once(contender: Contender) -> Run:
    """Run a contender once; raises CalledProcessError with its output when it fails."""
    contender.before()
    try:
        waited = pressure("io"), pressure("cpu")
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.perf_counter()
        ended = subprocess.run(contender.command, capture_output=True, text=True, check=False)
        wall_s = time.perf_counter() - started
        now = resource.getrusage(resource.RUSAGE_CHILDREN)
        waits = [(pressure(kind) - before) / wall_s for kind, before in zip(("io", "cpu"), waited, strict=True)]
    finally:
        contender.after()
    if ended.returncode != 0:
        raise SystemExit(f"{contender.name} failed ({ended.returncode}): {ended.stderr[-2000:]}")
    if contender.inner:
        told = json.loads(ended.stdout.splitlines()[-1])
        return Run(wall_s=told["wall_s"], core_s=told["core_s"], disk_wait=waits[0], core_wait=waits[1])
    core_s = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    return Run(wall_s=wall_s, core_s=core_s, disk_wait=waits[0], core_wait=waits[1])


def pressure(kind: str) -> float:
    """Return the seconds so far in which something waited for `kind` (pressure stall information); 0 if unknown."""
    try:
        text = Path(f"/proc/pressure/{kind}").read_text()
    except OSError:
        return 0.0
    match = re.search(r"some .*total=(\d+)", text)
    return int(match[1]) / 1e6 if match else 0.0


# --- the page cache ------------------------------------------------------------------------------------------------


def warm(*paths: Path) -> None:
    """Read files into the page cache."""
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while file.read(1 << 24):
                pass


def cool(*paths: Path) -> None:
    """Drop files from the page cache, and make sure that they are gone."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # dirty pages stay otherwise
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            if (left := resident_share(descriptor)) > 0.05:
                raise SystemExit(f"{path.name}: {left:.0%} still in the page cache; a cold run would be a lie")
        finally:
            os.close(descriptor)


def resident_share(descriptor: int) -> float:
    """Return the share of a file's pages that are in the page cache (mincore)."""
    size = os.fstat(descriptor).st_size
    if size == 0:
        return 0.0
    libc = ctypes.CDLL(None, use_errno=True)
    with mmap.mmap(descriptor, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE) as mapped:
        pages = (size + mmap.PAGESIZE - 1) // mmap.PAGESIZE
        vector = (ctypes.c_ubyte * pages)()
        anchor = ctypes.c_char.from_buffer(mapped)
        failed = libc.mincore(ctypes.c_void_p(ctypes.addressof(anchor)), ctypes.c_size_t(size), vector)
        del anchor
    if failed:
        raise OSError(ctypes.get_errno(), "mincore")
    return sum(page & 1 for page in bytes(vector)) / pages


# --- the machine ---------------------------------------------------------------------------------------------------


def machine(scratch: Path) -> str:
    """Describe the machine in one line, without naming it."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*: (.*)", cpuinfo)
    flags = (re.search(r"flags\s*: (.*)", cpuinfo) or ["", ""])[1].split()
    memory = re.search(r"MemTotal:\s*(\d+) kB", Path("/proc/meminfo").read_text())
    parts = [
        f"{os.cpu_count()} × {model[1] if model else platform.machine()}{' with SHA extensions' if 'sha_ni' in flags else ''}",
        f"{int(memory[1]) / 1048576:.0f} GiB RAM" if memory else "",
        f"Linux {platform.release()}",
        f"{file_system(scratch)} on the scratch disk",
        f"Python {platform.python_version()}",
    ]
    return ", ".join(part for part in parts if part)


def file_system(path: Path) -> str:
    """Return the type of the file system a path is on."""
    best, kind = "", "?"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        point = fields.split()[4]
        if path.resolve().is_relative_to(point) and len(point) >= len(best):
            best, kind = point, rest.split()[0]
    return kind


def load() -> str:
    """Say how busy the machine was: figures of a busy machine are lower bounds."""
    return f"load {os.getloadavg()[0]:.1f}"
