"""Is this machine fit to keep evidence? Checks that `liuhen doctor` shows; each finding says what to do.

Reads only: nothing here repairs, and nothing is logged.
"""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import stat
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from api.errors import NetworkFileSystemError
from vault.entry import decode, format_time
from vault.errors import LiuhenError
from vault.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

State = Literal["ok", "warn", "fail"]
GIB = 1 << 30
FREE_BYTES_MIN = 2 * GIB  # below it not one ordinary clip of a shift is sure to fit
FREE_BYTES_WARN = 20 * GIB  # about one dock of recorders at shift end
CLOCK_SLACK_MS = 5_000
# SQLite's locks and our flock do not hold on these (facts: corrupted catalogues of other products on NFS and SMB).
NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "beegfs", "gpfs", "ocfs2"}
    | {"fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.rclone", "fuse.ceph", "fuse.davfs", "davfs", "virtiofs"}
)
VOLATILE_FILE_SYSTEMS = frozenset({"tmpfs", "ramfs", "overlay"})
TOOLS = ("sha256sum", "openssl", "python3", "ffmpeg", "chromium")  # none is needed; the first three check our claims


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The outcome of one check."""

    check: str
    state: State
    detail: str
    remedy: str = ""
    exit_code: int = 1  # of the fault, where the state is "fail"


def examine(root: Path) -> Iterator[Finding]:
    """Run every check on a data directory, the cheapest first."""
    yield versions()
    yield tools()
    yield file_system(root)
    yield free_space(root)
    yield clock(time.time_ns() // 1_000_000)
    yield from examine_vault(root)


def versions() -> Finding:
    """Name the versions that matter in a report."""
    parts = [f"liuhen {version('liuhen')}", f"Python {platform.python_version()}", f"SQLite {sqlite3.sqlite_version}"]
    parts += [f"{name} {version(name)}" for name in ("av", "cryptography", "sqlalchemy", "fastapi")]
    return Finding(
        check="versions", state="ok", detail=", ".join([*parts, f"{platform.system()} {platform.release()}"])
    )


def tools() -> Finding:
    """Say which outside tools are there. None is needed to run; some can check our work."""
    found = [name for name in TOOLS if shutil.which(name)]
    return Finding(check="tools", state="ok", detail=", ".join(found) or "none found; none is needed")


def file_system_type(path: Path) -> str:
    """Return the type of the file system a path is on (or would be), `?` where the system does not say."""
    place = nearest_existing(path).resolve()
    best, kind = "", "?"
    try:
        mounts = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return "?"
    for line in mounts:
        fields, _, rest = line.partition(" - ")
        point = fields.split()[4].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
        if place.is_relative_to(point) and len(point) >= len(best):
            best, kind = point, rest.split()[0]
    return kind


def nearest_existing(path: Path) -> Path:
    """Return the path or its nearest ancestor that exists."""
    for candidate in (path.absolute(), *path.absolute().parents):
        if candidate.exists():
            return candidate
    return Path("/")


def require_local(root: Path) -> None:
    """Raise NetworkFileSystemError unless the data directory is (or would be) on a disk of this machine."""
    if (kind := file_system_type(root)) in NETWORK_FILE_SYSTEMS:
        raise NetworkFileSystemError(f"{root}: {kind} is a network file system")


def file_system(root: Path) -> Finding:
    """Check that locks and fsync are what they seem."""
    try:
        require_local(root)
    except NetworkFileSystemError as err:
        return _from_error("file system", err)
    kind = file_system_type(root)
    if kind in VOLATILE_FILE_SYSTEMS:
        remedy = "Good for trying out. For evidence use a local disk (ext4, xfs, btrfs, zfs)."
        return Finding(check="file system", state="warn", detail=f"{kind}: may not survive a restart", remedy=remedy)
    return Finding(check="file system", state="ok", detail=kind)


def free_space(root: Path) -> Finding:
    """Warn before the disk is full, not after."""
    usage = shutil.disk_usage(nearest_existing(root))
    detail = f"{usage.free / GIB:.1f} GiB free of {usage.total / GIB:.1f} GiB"
    if usage.free < FREE_BYTES_WARN:
        state: State = "fail" if usage.free < FREE_BYTES_MIN else "warn"
        return Finding(check="free space", state=state, detail=detail, remedy="Add disk, or move other data away.")
    return Finding(check="free space", state="ok", detail=detail)


def clock(now_ms: int) -> Finding:
    """Distrust a clock that is before this software's own files: it was reset."""
    built_ms = int(Path(__file__).stat().st_mtime * 1000)
    if now_ms + CLOCK_SLACK_MS < built_ms:
        remedy = "Set the station's clock (timedatectl, chrony) before anything is sealed."
        return Finding(check="clock", state="fail", detail=f"{format_time(now_ms)} is before our files", remedy=remedy)
    return Finding(check="clock", state="ok", detail=format_time(now_ms))


# --- the vault itself ------------------------------------------------------------------------------------------------


def examine_vault(root: Path) -> Iterator[Finding]:
    """Check what `liuhen init` made: whether it opens, its keys, its log's head, its catalogue."""
    try:
        vault = Vault.open(root)
    except LiuhenError as err:
        yield _from_error("vault", err)
        return
    with vault:
        yield Finding(check="vault", state="ok", detail=f"{root}, log {vault.origin}")
        yield writable(root)
        yield key_permissions(root / "keys")
        for check, examine_part in (("log head", log_head), ("catalogue", catalogue)):
            yield _guarded(check, examine_part, vault)


def _guarded(check: str, examine_part: Callable[[Vault], Finding], vault: Vault) -> Finding:
    try:
        return examine_part(vault)
    except LiuhenError as err:
        return _from_error(check, err)


def _from_error(check: str, err: LiuhenError) -> Finding:
    return Finding(check=check, state="fail", detail=str(err), remedy=err.remedy, exit_code=err.exit_code)


def writable(root: Path) -> Finding:
    """Check that every part of the data directory takes new files."""
    refused = [
        name for name in ("log", "objects", "incoming", "records") if not os.access(root / name, os.W_OK | os.X_OK)
    ]
    if refused:
        remedy = "Run liuhen as the account that owns the data directory, or mount it read-write."
        return Finding(check="writable", state="fail", detail=f"not writable: {', '.join(refused)}", remedy=remedy)
    return Finding(check="writable", state="ok", detail="log, objects, incoming, records")


def key_permissions(keys: Path) -> Finding:
    """Check that the signing keys are readable by their owner alone."""
    loose = []
    for path in (keys, *sorted(keys.iterdir())):
        status = path.stat()
        if stat.S_IMODE(status.st_mode) & 0o077:
            loose.append(f"{path.name} {stat.S_IMODE(status.st_mode):04o}")
        if status.st_uid != os.geteuid():
            loose.append(f"{path.name} of uid {status.st_uid}")
    if loose:
        remedy = f"chmod 700 {keys}; chmod 600 {keys}/*; if others could read them, treat the keys as known."
        return Finding(check="keys", state="fail", detail=", ".join(loose), remedy=remedy)
    return Finding(check="keys", state="ok", detail="readable by their owner alone")


def log_head(vault: Vault) -> Finding:
    """Check the signed checkpoint, its newest entry and the clock against it."""
    checkpoint = vault.reader.checkpoint()
    newest = decode(vault.reader.entry(checkpoint.size - 1, checkpoint))
    ahead_ms = newest.time_ms - time.time_ns() // 1_000_000
    detail = f"{checkpoint.size} entries, the newest of {format_time(newest.time_ms)}"
    if ahead_ms > CLOCK_SLACK_MS:
        remedy = "The station's clock went back. Set it (timedatectl, chrony) before anything is sealed."
        return Finding(check="log head", state="fail", detail=f"{detail}, {ahead_ms} ms in the future", remedy=remedy)
    return Finding(check="log head", state="ok", detail=detail)


def catalogue(vault: Vault) -> Finding:
    """Check the database's journal mode and that it shows the whole log."""
    with vault.catalogue.engine.connect() as connection:
        mode = str(connection.exec_driver_sql("PRAGMA journal_mode").scalar_one())
    shown, size = vault.catalogue.projected_size(), vault.reader.checkpoint().size
    detail = f"journal {mode}, shows {shown} of {size} entries"
    if mode != "wal" or shown < size:
        remedy = "Stop every liuhen on this data directory, then run `liuhen rebuild`."
        return Finding(check="catalogue", state="fail", detail=detail, remedy=remedy, exit_code=26)
    return Finding(check="catalogue", state="ok", detail=detail)
