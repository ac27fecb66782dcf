"""Attacks on a stored vault: each must be found and named by the clip, entry or file at fault (REC-06)."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from typing import TYPE_CHECKING

import pytest
from evidence import Scene, build, flip, log_entries, overwrite, write_log
from tiers import sampled

from vault.entry import decode
from vault.errors import VaultMissingError
from vault.log.merkle import leaf_hash, root_of
from vault.log.signer import Signer
from vault.store import ObjectStore
from vault.vault import Vault
from vault.verification.verify import verify_vault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from vault.verification.verdict import Report


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return build(tmp_path_factory.mktemp("scene") / "vault")


@pytest.fixture
def scene(original: Scene, tmp_path: Path) -> Scene:
    return original.copy(tmp_path / "vault")


def found(report: Report) -> str:
    """Everything a report blames, for assertions about names."""
    return "\n".join(f"{fault.code} {fault}" for fault in report.faults)


def object_path(scene: Scene, number: int) -> Path:
    return ObjectStore(scene.root).path(scene.clips[number])


def record_of(scene: Scene, index: int) -> Path:
    body = str(decode(log_entries(scene.root)[index]).statement.fields["body"]).removeprefix("sha256:")
    return scene.root / "records" / body[:2] / body


def test_an_untouched_vault_holds_in_all_eight_steps(scene: Scene) -> None:
    """EXT-10: REC-06: nothing is at fault, every step was done, the four questions are answered yes."""
    report = verify_vault(scene.root)
    assert found(report) == ""
    assert [(step.number, step.outcome) for step in report.steps] == [(n, "ok") for n in range(1, 9)]
    assert (report.exit_code, [answer.yes for answer in report.answers]) == (0, [True] * 4)
    assert report.findings == []
    assert report.size == 15


def test_verification_changes_nothing(scene: Scene) -> None:
    """I9: a vault that was verified is byte for byte the vault it was."""

    def state() -> dict[str, tuple[bytes, int]]:
        files = [p for p in scene.root.rglob("*") if p.is_file() and p.suffix not in {".db-shm", ".db-wal"}]
        return {str(p): (p.read_bytes(), p.stat().st_mode) for p in files if not p.name.endswith(("-shm", "-wal"))}

    before = state()
    verify_vault(scene.root)
    assert state() == before


def test_no_vault_is_no_fault(tmp_path: Path) -> None:
    with pytest.raises(VaultMissingError):
        verify_vault(tmp_path / "nowhere")


# --- originals -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 1_048_575, 1_048_576, 1_499_999])
def test_one_flipped_bit_of_an_original_names_the_clip_and_the_place(scene: Scene, at: int) -> None:
    flip(object_path(scene, 1), at)
    report = verify_vault(scene.root)
    assert report.exit_code == 21
    assert str(scene.clips[1]) in found(report)
    assert f"bytes {at // 1048576 * 1048576}-" in found(report)
    assert str(scene.clips[2]) not in found(report)


def test_a_flipped_bit_of_a_chunk_list_names_the_clip_and_clears_the_footage(scene: Scene) -> None:
    flip(object_path(scene, 2).with_name(scene.clips[2].hex + ".chunks"))
    report = verify_vault(scene.root)
    assert report.exit_code == 21
    assert f"clip {scene.clips[2]}" in found(report)
    assert "the footage was not" in found(report)


def test_a_shortened_original_names_the_clip(scene: Scene) -> None:
    path = object_path(scene, 1)
    overwrite(path, path.read_bytes()[:-1])
    report = verify_vault(scene.root)
    assert report.exit_code == 21
    assert "has 1499999 bytes, sealed were 1500000" in found(report)


@pytest.mark.parametrize("suffix", ["", ".chunks"])
def test_a_missing_original_or_chunk_list_names_the_clip(scene: Scene, suffix: str) -> None:
    object_path(scene, 2).with_name(scene.clips[2].hex + suffix).unlink()
    report = verify_vault(scene.root)
    assert report.exit_code == 24
    assert f"clip {scene.clips[2]}" in found(report)


def test_two_swapped_originals_are_both_named(scene: Scene) -> None:
    first, second = object_path(scene, 1), object_path(scene, 2)
    one, two = first.read_bytes(), second.read_bytes()
    overwrite(first, two)
    overwrite(second, one)
    report = verify_vault(scene.root)
    assert report.exit_code == 21
    assert str(scene.clips[1]) in found(report)
    assert str(scene.clips[2]) in found(report)


def test_an_object_nobody_sealed_is_a_finding_and_no_fault(scene: Scene) -> None:
    """An interrupted docking leaves such a file; the proof does not suffer."""
    stray = scene.root / "objects" / "aa" / "bb" / ("aabb" + "0" * 60)
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"half a docking")
    report = verify_vault(scene.root)
    assert report.holds
    assert [finding.object for finding in report.findings] == [str(stray.relative_to(scene.root))]


def test_an_original_that_can_be_written_to_is_a_finding(scene: Scene) -> None:
    object_path(scene, 1).chmod(0o644)
    report = verify_vault(scene.root)
    assert report.holds
    assert "has mode 0644, expected 0444" in report.findings[0].message


def test_originals_are_left_alone_when_not_asked_for(scene: Scene) -> None:
    flip(object_path(scene, 1))
    report = verify_vault(scene.root, objects=False)
    assert report.holds
    assert report.steps[6].outcome == "skipped"


def test_a_large_original_is_hashed_in_two_halves_and_still_named(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vault.verification.objectcheck.SPLIT_BYTES", 1_000_000)
    assert verify_vault(scene.root).holds
    flip(object_path(scene, 2), 5)
    report = verify_vault(scene.root)
    assert [fault.code for fault in report.faults] == [21, 21]
    object_path(scene, 1).unlink()
    assert sorted(fault.code for fault in verify_vault(scene.root).faults) == [21, 21, 24]


# --- the log -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tiles", [False, True], ids=["tiles left", "tiles rewritten"])
@pytest.mark.parametrize(
    ("attack", "named"),
    [
        (lambda e: [*e[:7], e[7].replace(b"custodian", b"custodiam"), *e[8:]], 7),
        (lambda e: [*e[:7], *e[8:]], 7),
        (lambda e: [*e[:7], e[8], e[7], *e[9:]], 7),
        (lambda e: [*e[:9], e[12], *e[9:]], 9),
        (lambda e: [*e[:9], e[12], *e[9:-1]], 9),
        (lambda e: e[:-1], 14),
    ],
    ids=["changed", "dropped", "swapped", "inserted", "inserted, last cut off", "last dropped"],
)
def test_a_log_with_an_entry(
    scene: Scene, attack: Callable[[list[bytes]], list[bytes]], named: int, tiles: bool
) -> None:
    """REC-06: changed, dropped, swapped, inserted: the log no longer leads to its root, and the entry is named."""
    write_log(scene.root, attack(log_entries(scene.root)), tiles=tiles)
    report = verify_vault(scene.root)
    assert report.exit_code == 22
    if not tiles:
        assert report.faults[0].object == f"entry {named}"
    assert f"entry {named}" in found(report) or "lead to root" in found(report)


def test_a_rewritten_tile_does_not_hide_which_entries_lost_their_place(scene: Scene) -> None:
    """With tiles that match the changed entries, the links between entries still say where one is missing."""
    entries = log_entries(scene.root)
    write_log(scene.root, [*entries[:7], *entries[8:], entries[14]], tiles=True)
    report = verify_vault(scene.root)
    assert report.exit_code == 22
    assert "lead to root" in found(report)
    assert "entry 7 (clip.acquired)" in found(report)


def test_a_log_rewritten_and_signed_again_with_the_stolen_key_contradicts_the_database(scene: Scene) -> None:
    """I3: the database keeps the checkpoint that was signed before."""
    entries = log_entries(scene.root)
    entries[14] = entries[14].replace(b'"scope":"whole"', b'"scope":"other"')
    write_log(scene.root, entries, tiles=True)
    signer = Signer.load(scene.root / "keys" / "log.key")
    note = signer.sign(signer.verifier.name, len(entries), root_of(leaf_hash(entry) for entry in entries))
    overwrite(scene.root / "log" / "checkpoint", note)
    report = verify_vault(scene.root)
    assert report.exit_code == 23
    assert "the log was rewritten" in found(report)


def test_every_tile_file_is_compared_with_the_entries(scene: Scene) -> None:
    """A stale, damaged or missing tile is named, and the entries are not blamed for it."""
    tiles = sorted((scene.root / "log" / "tile").rglob("0*/*"))
    assert len(tiles) > 3
    for tile in (path for path in tiles if path.is_file() and "/tile/0/" in str(path)):
        kept = tile.read_bytes()
        flip(tile)
        report = verify_vault(scene.root, objects=False, catalogue=False)
        assert report.exit_code == 22
        assert [fault.object for fault in report.faults] == [str(tile.relative_to(scene.root / "log"))]
        overwrite(tile, kept)
    newest = scene.root / "log" / "tile" / "0" / "000.p" / "15"
    newest.unlink()
    assert verify_vault(scene.root).faults[0].object == "tile/0/000.p/15"


def test_a_tile_beyond_the_checkpoint_is_a_finding(scene: Scene) -> None:
    extra = scene.root / "log" / "tile" / "0" / "x001" / "234"
    extra.parent.mkdir(parents=True)
    extra.write_bytes(bytes(8192))
    (scene.root / "log" / "tile" / "readme").write_text("?")
    report = verify_vault(scene.root)
    assert report.holds
    assert {finding.object for finding in report.findings} == {"tile/0/x001/234", "tile/readme"}


def test_an_older_copy_of_a_bundle_that_differs_is_named(scene: Scene) -> None:
    older = min((scene.root / "log" / "tile" / "entries" / "000.p").iterdir(), key=lambda path: int(path.name))
    flip(older)
    report = verify_vault(scene.root)
    assert report.exit_code == 22
    assert report.faults[0].object == f"tile/entries/000.p/{older.name}"


def test_a_missing_bundle_names_its_entries_and_spares_nothing_that_can_be_checked(scene: Scene) -> None:
    for path in (scene.root / "log" / "tile" / "entries" / "000.p").iterdir():
        path.unlink()
    report = verify_vault(scene.root)
    assert report.exit_code == 22
    assert "tile/entries/000.p/15 (entries 0-14): is missing" in found(report)


# --- checkpoints ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [3, 30, 50, 75, -20])
def test_a_changed_checkpoint_is_not_signed(scene: Scene, at: int) -> None:
    path = scene.root / "log" / "checkpoint"
    flip(path, at % path.stat().st_size)
    assert verify_vault(scene.root).exit_code == 20


@pytest.mark.parametrize("name", ["checkpoint", "vkey"])
def test_without_checkpoint_or_key_nothing_else_is_claimed(scene: Scene, name: str) -> None:
    (scene.root / "log" / name).unlink()
    report = verify_vault(scene.root)
    assert report.exit_code == 20
    assert {step.outcome for step in report.steps[1:]} == {"skipped"}


def test_another_key_in_place_of_the_logs_own_is_found(scene: Scene, tmp_path: Path) -> None:
    """A log signed anew by a stranger: its first entry, the database and the auditor's key all disagree."""
    own = Signer.load(scene.root / "keys" / "log.key")
    entries = log_entries(scene.root)
    stranger = Signer.create(tmp_path / "stranger.key", own.verifier.name)
    note = stranger.sign(own.verifier.name, len(entries), root_of(leaf_hash(entry) for entry in entries))
    overwrite(scene.root / "log" / "checkpoint", note)
    overwrite(scene.root / "log" / "vkey", f"{stranger.vkey}\n".encode())
    report = verify_vault(scene.root)
    assert {20, 22} <= {fault.code for fault in report.faults}
    assert "entry 0 (log.genesis)" in found(report)
    assert verify_vault(scene.root, vkey=own.vkey).exit_code == 20


def roll_back(scene: Scene, checkpoint: bytes) -> None:
    """Put an older state of log/ back: the checkpoint, and only the files that it implies."""
    size = int(checkpoint.split(b"\n")[1])
    overwrite(scene.root / "log" / "checkpoint", checkpoint)
    for kind in ("0", "entries"):
        for path in (scene.root / "log" / "tile" / kind / "000.p").iterdir():
            if int(path.name) > size:
                path.unlink()


def test_a_truncated_log_is_behind_the_database(scene: Scene) -> None:
    """I3: REC-06: an older checkpoint with the older bundles is a proper log; the database knows better."""
    roll_back(scene, scene.checkpoints[1])
    report = verify_vault(scene.root)
    assert report.exit_code == 23
    assert "entries 9-14 were cut off" in found(report)


def test_a_vault_put_back_as_a_whole_is_found_by_the_auditors_checkpoint(scene: Scene) -> None:
    """I3: what no vault can know of itself, a kept checkpoint shows."""
    roll_back(scene, scene.checkpoints[1])
    with sqlite3.connect(scene.root / "catalogue.db") as database:
        database.execute("UPDATE cp SET body = ?", (scene.checkpoints[1],))
        database.execute("DELETE FROM staged")
    assert 23 not in {fault.code for fault in verify_vault(scene.root).faults}
    report = verify_vault(scene.root, since=scene.checkpoints[-1])
    assert "the auditor's checkpoint: has 15 entries, the log only 9" in found(report)


def test_an_earlier_checkpoint_of_the_same_log_is_accepted_and_a_foreign_one_is_not(
    scene: Scene, tmp_path: Path
) -> None:
    for note in scene.checkpoints:
        assert verify_vault(scene.root, since=note, objects=False).holds
    signer = Signer.load(scene.root / "keys" / "log.key")
    fork = signer.sign(signer.verifier.name, 9, bytes(32))
    report = verify_vault(scene.root, since=fork, objects=False)
    assert report.exit_code == 23
    assert verify_vault(scene.root, since=b"no checkpoint", objects=False).exit_code == 20


def test_an_older_database_put_back_is_named(scene: Scene) -> None:
    """I3: the next writer would fork the log from there."""
    with sqlite3.connect(scene.root / "catalogue.db") as database:
        database.execute("UPDATE cp SET body = ?", (scene.checkpoints[1],))
    report = verify_vault(scene.root)
    assert report.exit_code == 23
    assert "an older database was put back" in found(report)


def test_a_missing_database_is_named_and_the_log_is_still_judged(scene: Scene) -> None:
    (scene.root / "catalogue.db").unlink()
    report = verify_vault(scene.root)
    assert report.exit_code == 26
    assert [step.outcome for step in report.steps] == ["ok", "ok", "fault", "ok", "ok", "ok", "ok", "skipped"]


# --- records and catalogue -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [1, 2, 5, 8, 11, 12, 14])
def test_a_changed_record_names_its_entry(scene: Scene, index: int) -> None:
    flip(record_of(scene, index))
    report = verify_vault(scene.root)
    assert report.exit_code == 25
    assert report.faults[0].object.startswith(f"entry {index} (")


def test_a_missing_record_and_two_swapped_ones_name_their_entries(scene: Scene) -> None:
    record_of(scene, 14).unlink()
    one, two = record_of(scene, 12), record_of(scene, 13)
    first, second = one.read_bytes(), two.read_bytes()
    overwrite(one, second)
    overwrite(two, first)
    report = verify_vault(scene.root)
    assert [fault.object.split(" (")[0] for fault in report.faults if fault.code == 25] == [
        "entry 12",
        "entry 13",
        "entry 14",
    ]


def test_a_record_nobody_refers_to_is_a_finding(scene: Scene) -> None:
    (scene.root / "records" / "aa" / "bb").mkdir(parents=True)
    (scene.root / "records" / "aa" / "bb" / ("aabb" + "0" * 60)).write_text("{}")
    report = verify_vault(scene.root)
    assert report.holds
    assert report.findings[0].object.startswith("records/aa/bb/aabb")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("UPDATE clip SET name = 'other' WHERE rowid = 1", "catalogue clip"),
        ("UPDATE clip SET size = size + 1 WHERE size > 0", "catalogue clip"),
        ("DELETE FROM view", "catalogue view"),
        ("DELETE FROM clip_link WHERE rowid = 1", "catalogue clip_link"),
        ("INSERT INTO clip_link SELECT id, 'another', 1, 1, '', '' FROM clip LIMIT 1", "catalogue clip_link"),
        ("UPDATE case_record SET title = 'other'", "catalogue case_record"),
        ("UPDATE acquisition SET device = 'dev-0'", "catalogue acquisition"),
        ("UPDATE person SET name = 'other'", "catalogue person"),
        ("DELETE FROM ix WHERE position = 14", "catalogue ix"),
        ("UPDATE ix SET position = 3 WHERE position = 14", "catalogue ix"),
        ("UPDATE ix SET statement_digest = x'00' WHERE position = 14", "catalogue ix"),
        ("UPDATE subject_head SET position = 5", "catalogue subject_head"),
        ("DELETE FROM subject_head", "catalogue subject_head"),
        ("DROP TABLE view", "catalogue.db"),
    ],
)
def test_replaced_catalogue_rows_are_named(scene: Scene, change: str, named: str) -> None:
    """I7: the catalogue shows what the log says, or verification says where it does not."""
    with sqlite3.connect(scene.root / "catalogue.db") as database:
        database.execute(change)
    report = verify_vault(scene.root)
    assert report.exit_code == 26
    assert report.faults[0].object.startswith(named)
    assert {fault.object.partition(",")[0] for fault in report.faults} == {named}


def test_a_catalogue_that_lags_behind_is_a_finding(scene: Scene) -> None:
    """Dead between log and projection: the next start catches up."""
    with sqlite3.connect(scene.root / "catalogue.db") as database:
        database.execute("UPDATE projected SET size = 14")
        database.execute("DELETE FROM view")
    report = verify_vault(scene.root)
    assert report.holds
    assert report.findings[0].message.startswith("shows 14 of 15 entries")


def test_a_report_says_everything_as_json(scene: Scene) -> None:
    flip(object_path(scene, 1))
    shutil.rmtree(scene.root / "incoming")
    document = verify_vault(scene.root).to_json()
    assert document["exit"] == 21
    assert set(document) == {
        "target", "holds", "exit", "origin", "vkey", "fingerprint", "size", "root", "trust", "steps", "faults", "findings", "answers",
    }  # fmt: skip
    (fault, *_) = document["faults"]
    assert set(fault) == {"code", "object", "message", "remedy"}
    text = str(document["trust"])
    assert "tamper-proof" not in text
    assert "不可篡改" not in text


# --- byte by byte --------------------------------------------------------------------------------------------------------


def judged(root: Path) -> list[Path]:
    """Every file whose bytes the proof rests on."""
    folders = [root / "log", root / "records"]
    return sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())


def assert_flips_are_found(root: Path, path: Path, places: Iterable[int]) -> None:
    data = path.read_bytes()
    for at in places:
        overwrite(path, data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :])
        report = verify_vault(root, objects=False, catalogue=False)
        assert 20 <= report.exit_code <= 29, f"{path.relative_to(root)}, byte {at}"
    overwrite(path, data)


def test_a_flipped_bit_anywhere_in_log_and_records_is_found(scene: Scene) -> None:
    """REC-06: two places of every file; more of each in the slow test below."""
    for number, path in enumerate(judged(scene.root)):
        size = path.stat().st_size
        assert_flips_are_found(scene.root, path, {number % size, (size - 1 - 7 * number) % size})


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_flipped_bits_of_log_and_records_are_found(scene: Scene) -> None:
    """REC-06: a hundred bytes of every file; every byte when LIUHEN_TEST_FULL is set, of superseded copies every sixteenth."""
    for number, path in enumerate(judged(scene.root)):
        older = path.parent.name == "000.p" and path.name != "15"
        places = range(number % 16 if older else 0, path.stat().st_size, 16 if older else 1)
        assert_flips_are_found(scene.root, path, sampled(places, 100))


# --- a vault that was killed, a vault at work -------------------------------------------------------------------------------------------------------


def test_an_append_that_was_committed_but_not_published_is_a_finding(scene: Scene, tmp_path: Path) -> None:
    """Killed between commit and publication: the database holds the batch, the next start publishes it."""
    killed = tmp_path / "killed"
    with Vault.open(scene.root) as vault:
        vault.open_view(vault.actor("zhang", role="custodian"), scene.clips[1], "调阅")
        shutil.copytree(scene.root, killed)  # as kill -9 leaves it: nothing was closed
    with sqlite3.connect(killed / "catalogue.db") as database:
        database.execute("DELETE FROM view WHERE position = 15")  # the projection comes after the publication
        database.execute("UPDATE projected SET size = 15")
    dead = Scene(root=killed, clips=scene.clips, case=scene.case, checkpoints=scene.checkpoints)
    roll_back(dead, scene.checkpoints[-1])
    report = verify_vault(killed)
    assert found(report) == ""
    assert [finding.object.partition("/")[0] for finding in report.findings] == ["catalogue.db (cp)", "records"]
    Vault.open(killed).close()
    report = verify_vault(killed)
    assert (found(report), report.size, report.findings) == ("", 16, [])


def test_a_vault_can_be_verified_while_it_is_written_to(scene: Scene) -> None:
    """What is appended meanwhile is neither missing nor too much."""
    stop = threading.Event()

    def work() -> None:
        with Vault.open(scene.root) as vault:
            actor = vault.actor("zhang", role="custodian")
            while not stop.is_set():
                vault.open_view(actor, scene.clips[1], "调阅")

    worker = threading.Thread(target=work)
    worker.start()
    try:
        reports = [verify_vault(scene.root) for _ in range(12)]
    finally:
        stop.set()
        worker.join()
    assert [found(report) for report in reports] == [""] * 12
    assert reports[-1].size > reports[0].size
