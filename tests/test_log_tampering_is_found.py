"""Every byte of a published log: change it, cut there, drop, swap or insert entries; a reader must notice."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from vault.errors import CheckpointInvalidError, EntryInvalidError, IntegrityError
from vault.log.checkpoint import parse_vkeys
from vault.log.merkle import leaf_hash
from vault.log.proof import TlogProof
from vault.log.reader import LogReader
from vault.log.sequencer import Log
from vault.log.tiles import decode_bundle, encode_bundle
from vault.testing import ORIGIN, FrozenClock, create_log, make_statements

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vault.log.signer import Signer


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return create_log(tmp_path)


@pytest.fixture
def published(tmp_path: Path, signer: Signer) -> Path:
    """The directory of a log of 270 entries: a full tile, partial tiles on two levels."""
    with Log.open(tmp_path, signer, now_ms=FrozenClock()) as log:
        log.append(make_statements(0, 270))
    return tmp_path / "log"


def read_everything(directory: Path, signer: Signer) -> None:
    """What an auditor does: the checkpoint, then every entry up to it."""
    reader = LogReader(directory, [signer.verifier], ORIGIN)
    checkpoint = reader.checkpoint()
    for _ in reader.entries(0, checkpoint.size, checkpoint):
        pass


@pytest.mark.parametrize("step", [17, pytest.param(1, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
def test_every_byte_of_a_small_log_matters(tmp_path: Path, signer: Signer, step: int) -> None:
    """I3: of 20 entries no byte can change, and no file can be cut anywhere, without being noticed."""
    with Log.open(tmp_path, signer, now_ms=FrozenClock()) as log:
        for start in range(0, 20, 5):
            log.append(make_statements(start, start + 5))
    directory = tmp_path / "log"
    for partial in directory.rglob("*.p/*"):
        if partial.name != "20":
            partial.unlink()  # of older sizes: nobody who holds this checkpoint reads them
    read_everything(directory, signer)
    changed = 0
    for path in [each for each in directory.rglob("*") if each.is_file() and each.name != "vkey"]:
        data = path.read_bytes()
        for position in range(0, len(data), step):
            for damaged in (
                data[:position] + bytes([data[position] ^ (1 << position % 8)]) + data[position + 1 :],
                data[:position],
            ):
                path.write_bytes(damaged)
                with pytest.raises(IntegrityError):
                    read_everything(directory, signer)
                changed += 1
        path.write_bytes(data)
    assert changed > 20_000 // step


def test_every_byte_of_the_log_key_matters(published: Path) -> None:
    path = published / "vkey"
    data = path.read_text()
    for position in range(len(data) - 1):
        damaged = data[:position] + chr(ord(data[position]) ^ 1) + data[position + 1 :]
        with pytest.raises(CheckpointInvalidError):
            LogReader(published, parse_vkeys(damaged), ORIGIN).checkpoint()


@pytest.mark.parametrize(
    ("act", "named"),
    [
        (lambda entries: entries.pop(3), "000 .entries 0 to 255"),
        (lambda entries: entries.insert(3, b"{}"), "000 .entries 0 to 255"),
        (lambda entries: entries.insert(3, entries.pop(7)), "entry 3 is not"),
        (lambda entries: entries.__setitem__(9, entries[9].replace(b"whole", b"torn!")), "entry 9 is not"),
        (lambda entries: entries.__setitem__(255, b""), "entry 255 is not"),
    ],
    ids=["dropped", "inserted", "reordered", "changed", "emptied"],
)
def test_what_was_done_to_the_entries_is_named(
    published: Path, signer: Signer, act: Callable[[list[bytes]], object], named: str
) -> None:
    path = published / "tile/entries/000"
    entries = decode_bundle(path.read_bytes())
    act(entries)
    path.write_bytes(encode_bundle(entries))
    with pytest.raises(EntryInvalidError, match=named):
        read_everything(published, signer)


def test_an_entry_and_its_tile_changed_together_are_still_found(published: Path, signer: Signer) -> None:
    bundle, tile = published / "tile/entries/000", published / "tile/0/000"
    entries = decode_bundle(bundle.read_bytes())
    entries[5] = b"forged"
    bundle.write_bytes(encode_bundle(entries))
    tile.write_bytes(b"".join(map(leaf_hash, entries)))
    with pytest.raises(EntryInvalidError, match="tile/0/000 does not lead to the root of 270 entries"):
        read_everything(published, signer)


def test_a_forged_edge_is_traced_to_the_entry(published: Path, signer: Signer) -> None:
    bundle = published / "tile/entries/001.p/14"
    tile = published / "tile/0/001.p/14"
    hashes = bytearray(tile.read_bytes())
    hashes[32 * 13] ^= 1
    tile.write_bytes(hashes)
    with pytest.raises(EntryInvalidError, match=r"entry 269 is not what tile/0/001\.p/14 says"):
        read_everything(published, signer)
    entries = decode_bundle(bundle.read_bytes())
    entries[13] = b"forged"
    bundle.write_bytes(encode_bundle(entries))
    tile.write_bytes(b"".join(map(leaf_hash, entries)))
    with pytest.raises(EntryInvalidError, match=r"tile/0/001\.p/14.* do not lead to the root of 270"):
        read_everything(published, signer)
    above = published / "tile/1/000.p/1"
    above.write_bytes(bytes(32))
    with pytest.raises(EntryInvalidError, match=r"tile/0/000 is not what tile/1/000\.p/1 says"):
        read_everything(published, signer)


@pytest.mark.parametrize("name", ["checkpoint", "tile", "tile/0", "tile/1", "tile/entries", "tile/0/000"])
def test_a_missing_part_is_named(published: Path, signer: Signer, name: str) -> None:
    path = published / name
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    with pytest.raises(IntegrityError, match=name):
        read_everything(published, signer)


def test_a_log_cut_back_to_an_older_checkpoint_verifies_only_as_the_older_log(
    tmp_path: Path, published: Path, signer: Signer
) -> None:
    """I3: truncation shows against any checkpoint that someone kept."""
    kept = LogReader(published, [signer.verifier], ORIGIN).checkpoint()
    shutil.rmtree(published / "tile")
    with Log.open(create_copy(tmp_path / "other"), signer, now_ms=FrozenClock()) as log:
        log.append(make_statements(0, 260))
    shutil.copytree(tmp_path / "other/log/tile", published / "tile")
    shutil.copy(tmp_path / "other/log/checkpoint", published / "checkpoint")
    read_everything(published, signer)
    with pytest.raises(EntryInvalidError):
        LogReader(published, [signer.verifier], ORIGIN).entry(0, kept)


def create_copy(root: Path) -> Path:
    root.mkdir()
    create_log(root)
    return root


def test_a_damaged_file_is_not_remembered_once_it_is_mended(published: Path, signer: Signer) -> None:
    reader = LogReader(published, [signer.verifier], ORIGIN)
    checkpoint = reader.checkpoint()
    path = published / "tile/0/000"
    good = path.read_bytes()
    path.write_bytes(good[:-1] + b"?")
    with pytest.raises(EntryInvalidError):
        reader.entry(0, checkpoint)
    path.write_bytes(good)
    assert reader.entry(0, checkpoint)


def test_every_changed_byte_of_a_proof_is_refused_or_changes_nothing_it_proves(published: Path, signer: Signer) -> None:
    """A tlog-proof proves one entry at one index under one checkpoint, or nothing."""
    reader = LogReader(published, [signer.verifier], ORIGIN)
    checkpoint = reader.checkpoint()
    entry, data = reader.entry(77, checkpoint), reader.tlog_proof(77, checkpoint)
    assert TlogProof.parse(data).verify(entry, [signer.verifier], ORIGIN) == checkpoint
    assert TlogProof.parse(data).encode() == data
    for position in range(len(data)):
        damaged = data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
        with pytest.raises(IntegrityError):
            TlogProof.parse(damaged).verify(entry, [signer.verifier], ORIGIN)
        with pytest.raises(IntegrityError):
            TlogProof.parse(data[:position]).verify(entry, [signer.verifier], ORIGIN)
    for other in (b"", entry + b" ", reader.entry(78, checkpoint)):
        with pytest.raises(EntryInvalidError):
            TlogProof.parse(data).verify(other, [signer.verifier], ORIGIN)


def test_an_extra_line_of_a_proof_is_carried_and_proves_nothing(published: Path, signer: Signer) -> None:
    reader = LogReader(published, [signer.verifier], ORIGIN)
    checkpoint = reader.checkpoint()
    plain = TlogProof.parse(reader.tlog_proof(0, checkpoint))
    data = TlogProof(index=0, hashes=plain.hashes, note=plain.note, extra=b"\0for people\n").encode()
    parsed = TlogProof.parse(data)
    assert (parsed.extra, parsed.encode()) == (b"\0for people\n", data)
    assert parsed.verify(reader.entry(0, checkpoint), [signer.verifier], ORIGIN) == checkpoint


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"c2sp.org/tlog-proof@v2\nindex 0\n\n",
        b"c2sp.org/tlog-proof@v1\n\n",
        b"c2sp.org/tlog-proof@v1\nindex 00\n\n",
        b"c2sp.org/tlog-proof@v1\nindex 0\n" + b"A" * 40 + b"\n\n",
        b"c2sp.org/tlog-proof@v1\nindex 0\n\xff\n\n",
    ],
)
def test_a_malformed_proof_is_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        TlogProof.parse(data)
