"""A small real vault for the tests of `verify` and `export`: three clips of a card, one case, a view.

Built once a session through the facade, then copied: each test damages a copy of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vault import durable
from vault.export.writer import export
from vault.log.merkle import leaf_hash
from vault.log.tiles import BUNDLE, TILE_WIDTH, Tile, decode_bundle, encode_bundle, tile_at
from vault.model import CHUNK_BYTES, Actor, CaseId, DeviceId, Digest, SessionId, device_id
from vault.store import chunk_hash, chunk_list_root
from vault.vault import Draft, Vault, uuid7

if TYPE_CHECKING:
    from collections.abc import Sequence

VERIFY_PY = Path(__file__).parent.parent / "vault" / "export" / "offline" / "verify.py"
NAMES = ("空文件.mp4", "执法记录仪_20260101.MP4", "GX010002.MP4")
SIZES = (0, 1_500_000, 3_000_000)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A vault directory and what is in it."""

    root: Path
    clips: tuple[Digest, ...]
    case: CaseId
    checkpoints: tuple[bytes, ...]  # notes as they were published, oldest first

    def copy(self, target: Path) -> Scene:
        """Copy the vault, keeping modes, so that a test may damage it."""
        shutil.copytree(self.root, target)
        return Scene(root=target, clips=self.clips, case=self.case, checkpoints=self.checkpoints)


def content(number: int) -> bytes:
    """Return the bytes of clip `number`: pseudo-random, equal in every run."""
    return hashlib.shake_256(b"clip %d" % number).digest(SIZES[number])


def seal(vault: Vault, *, actor: Actor, device: DeviceId, session: SessionId, name: str, data: bytes) -> Digest:
    """Store and log one clip as a docking does."""
    incoming = vault.objects.begin()
    os.write(incoming.fd, data)
    chunks = b"".join(chunk_hash(data[at : at + CHUNK_BYTES]) for at in range(0, len(data), CHUNK_BYTES))
    clip = Digest.of(data)
    vault.objects.place(incoming, clip, chunks)
    durable.sync_file_system(vault.root)
    sealed = Draft(
        type="clip.sealed",
        actor=actor,
        fields={
            "clip": str(clip),
            "bytes": len(data),
            "chunk_bytes": CHUNK_BYTES,
            "chunk_root": chunk_list_root(chunks).hex(),
            "media": "video",
            "condition": "whole" if data else "damaged",
        },
        private={
            "name": name,
            "facts": {
                "container": "mp4",
                "streams": [{"kind": "video", "codec": "h264"}],
                "duration_ms": 2000,
                "start": {"at": "2026-01-01T08:00:00+08:00", "source": "name", "confidence": "medium"},
            },
        },
        id=f"sealed:{clip.hex}",
    )
    vault.submit([sealed, acquired(actor, clip, device, session, len(data), path=f"DCIM/{name}")])
    return clip


def acquired(
    actor: Actor, clip: Digest, device: DeviceId, session: SessionId, size: int, *, path: str, outcome: str = "sealed"
) -> Draft:
    """Return the entry that follows a seal."""
    return Draft(
        type="clip.acquired",
        actor=actor,
        fields={"clip": str(clip), "device": device, "session": session, "bytes": size, "outcome": outcome},
        private={"path": path, "modified_at": "2026-01-01T08:00:02", "modified_ns": "0", "fingerprint": "1"},
    )


def docked(actor: Actor, device: DeviceId, session: SessionId) -> list[Draft]:
    """Return the entries that open a docking."""
    base: dict[str, str | int] = {"device": device, "session": session}
    return [
        Draft(
            type="dock.opened",
            actor=actor,
            fields={**base, "driver": "volume"},
            private={"label": "执法记录仪 07", "serial": "SN-07", "identity": {}},
        ),
        Draft(
            type="device.clock_read",
            actor=actor,
            fields={**base, "source": "ntp", "offset_ms": 1250, "uncertainty_ms": 500},
        ),
        Draft(
            type="device.inventoried",
            actor=actor,
            fields={**base, "files": len(NAMES), "bytes": sum(SIZES)},
            private={"files": [], "skipped": [], "complete": True},
        ),
    ]


def build(root: Path) -> Scene:
    """Create the vault: 0 genesis, 1 person, 2-4 docking, 5-10 clips, 11 case, 12-13 links, 14 view."""
    notes = []
    with Vault.init(root) as vault:
        actor = vault.actor("zhang", role="custodian", name="张三")
        device, session = device_id("volume", "SN-07"), SessionId(str(uuid7()))
        vault.submit(docked(actor, device, session))
        clips = []
        for number, name in enumerate(NAMES):
            clips.append(seal(vault, actor=actor, device=device, session=session, name=name, data=content(number)))
            notes.append((root / "log" / "checkpoint").read_bytes())
        case = vault.open_case(actor, number="桃林罚〔2026〕1号", title="占用林地").id
        for clip in clips[:2]:
            vault.link(actor, clip, case, "同一现场")
        vault.open_view(actor, clips[1], "案件审查", address="10.0.0.7")
        notes.append((root / "log" / "checkpoint").read_bytes())
    return Scene(root=root, clips=tuple(clips), case=case, checkpoints=tuple(notes))


def log_entries(root: Path) -> list[bytes]:
    """Return the entries of a small log, straight from its one partial bundle."""
    bundles = sorted((root / "log" / "tile" / "entries" / "000.p").iterdir(), key=lambda path: int(path.name))
    return decode_bundle(bundles[-1].read_bytes())


def overwrite(path: Path, data: bytes) -> None:
    """Write over a read-only file as its owner can, keeping the mode."""
    mode = path.stat().st_mode
    path.chmod(0o600)
    path.write_bytes(data)
    path.chmod(mode)


def flip(path: Path, at: int = -1, bit: int = 0) -> None:
    """Flip one bit of a file; by default in its middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if at < 0 else at] ^= 1 << bit
    overwrite(path, bytes(data))


def write_log(root: Path, entries: Sequence[bytes], *, tiles: bool) -> None:
    """Put entries into the newest bundle of a small log; with `tiles` rewrite the hash tile as well."""
    size = int((root / "log" / "checkpoint").read_bytes().split(b"\n")[1])
    assert size < TILE_WIDTH
    overwrite(root / "log" / tile_at(BUNDLE, 0, size).path, encode_bundle(entries))
    if tiles:
        hashes = [leaf_hash(entry) for entry in entries][:size]
        overwrite(root / "log" / Tile(0, 0, size).path, b"".join(hashes).ljust(32 * size, b"\0"))


# --- bags --------------------------------------------------------------------------------------------------------------


def make_bag(scene: Scene, out: Path, **options: Any) -> Path:
    """Export the case of a scene with all its clips; returns the zip."""
    with Vault.open(scene.root) as vault:
        actor = vault.actor("li", role="supervisor", name="李四")
        export(vault, scene.clips, scene.case, out, actor=actor, purpose="移送公安机关", **options)
    return out


def unzip(bag: Path, target: Path) -> Path:
    """Unpack a bag and return its top folder."""
    with zipfile.ZipFile(bag) as archive:
        archive.extractall(target)
    (top,) = target.iterdir()
    return top


def rebag(top: Path) -> None:
    """Write both manifests anew: an attacker who knows BagIt does this too."""

    def lines(paths: Sequence[Path]) -> str:
        return "".join(
            f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(top).as_posix()}\n" for path in paths
        )

    payload = sorted(path for path in (top / "data").rglob("*") if path.is_file())
    (top / "manifest-sha256.txt").write_text(lines(payload), encoding="utf-8")
    tags = [path for path in sorted(top.iterdir()) if path.is_file() and path.name != "tagmanifest-sha256.txt"]
    (top / "tagmanifest-sha256.txt").write_text(lines(tags), encoding="utf-8")


def check_bag(
    bag: Path | None, *options: str, python: str = sys.executable, script: Path = VERIFY_PY, cwd: Path | None = None
) -> tuple[int, dict[str, Any]]:
    """Run verify.py as a stranger would: no site packages, no environment; returns (status, its JSON report)."""
    command = [python, "-I", "-S", str(script), "--json", *options, *([] if bag is None else [str(bag)])]
    done = subprocess.run(command, capture_output=True, check=False, cwd=cwd, env={"LANG": "C.UTF-8"})
    assert done.stderr == b"", done.stderr.decode()
    return done.returncode, json.loads(done.stdout) if done.stdout.startswith(b"{") else {}
