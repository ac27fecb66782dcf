"""Where a directory lives: the mount it belongs to, and how that file system can be recognised on the next visit."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

FAT_FAMILY = frozenset({"vfat", "msdos", "exfat"})
# File systems whose f_fsid comes from the identity written when they were made. The others derive it from the device
# number, which changes with every plug-in.
_LASTING_FSID = frozenset({"ext2", "ext3", "ext4", "btrfs"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One line of /proc/self/mountinfo."""

    device: tuple[int, int]  # major, minor
    root: str  # the directory of the file system that is mounted here
    point: str
    options: frozenset[str]
    file_system: str
    source: str

    @property
    def stable_inodes(self) -> bool:
        """Say whether an inode number stays with its file: FAT drivers give out new ones whenever they forget."""
        return self.file_system not in FAT_FAMILY


UNKNOWN = Mount(device=(0, 0), root="/", point="/", options=frozenset(), file_system="unknown", source="unknown")


def parse_mountinfo(text: str) -> tuple[Mount, ...]:
    """Read the lines that can be read; see proc_pid_mountinfo(5)."""
    return tuple(mount for line in text.splitlines() if (mount := _parse_line(line)) is not None)


def _parse_line(line: str) -> Mount | None:
    head, separator, tail = line.partition(" - ")
    fields, rest = head.split(" "), tail.split(" ")
    if not separator or len(fields) < 6 or len(rest) < 3 or re.fullmatch(r"\d+:\d+", fields[2]) is None:
        return None
    major, _, minor = fields[2].partition(":")
    return Mount(
        device=(int(major), int(minor)),
        root=_unescape(fields[3]),
        point=_unescape(fields[4]),
        options=frozenset(fields[5].split(",")) | frozenset(rest[2].split(",")),
        file_system=rest[0],
        source=_unescape(rest[1]),
    )


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def find_mount(path: Path, device: int) -> Mount:
    """Return the mount that the resolved directory `path` with st_dev `device` lies on, else UNKNOWN."""
    try:
        text = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return UNKNOWN
    over = [mount for mount in parse_mountinfo(text) if path == Path(mount.point) or Path(mount.point) in path.parents]
    # The longest mount point over the path; of several at one point, the last mounted. Some file systems (btrfs) show
    # another number in stat than in mountinfo, so an equal number only decides between candidates.
    number = (os.major(device), os.minor(device))
    return max(over, key=lambda mount: (len(Path(mount.point).parts), mount.device == number), default=UNKNOWN)


def lasting_id(root: int, mount: Mount) -> tuple[str, str]:
    """Return (id of the file system, what it is based on); ("", why) when nothing lasting can be read."""
    device = os.fstat(root).st_dev
    if uuid := _link_to(Path("/dev/disk/by-uuid"), device):
        return uuid, "identity written when the file system was made (its clones have the same)"
    number = os.fstatvfs(root).f_fsid
    if mount.file_system in _LASTING_FSID and number:
        return f"{number:016x}", "statvfs identity of the file system (its clones have the same)"
    return "", f"no lasting identity can be read from {mount.file_system}"


def label_of(device: int) -> str:
    """Return the label of the file system on a block device, or nothing."""
    return re.sub(
        r"\\x([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), _link_to(Path("/dev/disk/by-label"), device)
    )


def _link_to(folder: Path, device: int) -> str:
    """Return the name of the link in `folder` that leads to the block device."""
    try:
        for link in sorted(folder.iterdir()):
            try:
                if link.stat().st_rdev == device:
                    return link.name
            except OSError:  # a link left over from a device that is gone
                continue
    except OSError:
        return ""
    return ""


def plugged(device: int) -> str:
    """Return the sysfs place of a block device and the number of this plug-in; nothing for other file systems.

    After a yank it is gone. The same card in the same port has the same place again, but never the same number.
    """
    node = f"/sys/dev/block/{os.major(device)}:{os.minor(device)}"
    try:
        place = os.readlink(node)  # noqa: PTH115 # asked after every file
    except OSError:
        return ""
    for sequence in (f"{node}/diskseq", f"{node}/../diskseq"):  # of a disk; of the disk that a partition is on
        try:
            with open(sequence, encoding="ascii") as stream:  # noqa: PTH123 # the same
                return f"{place}#{stream.read().strip()}"
        except OSError:  # a kernel before 5.15
            continue
    return place
