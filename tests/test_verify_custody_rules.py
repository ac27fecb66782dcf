"""What may follow what in the log: breaches that a correctly signed log can still contain (integrity rules of custody)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from evidence import NAMES, Scene, acquired, build
from hypothesis import given
from hypothesis import strategies as st

from vault.entry import LogEntry, Statement
from vault.errors import EntryInvalidError
from vault.model import Digest, device_id
from vault.vault import Draft, Vault
from vault.verification.custody import Custody
from vault.verification.logcheck import read_entry
from vault.verification.verify import verify_vault

if TYPE_CHECKING:
    from pathlib import Path

    from vault.model import Actor

UNKNOWN = Digest.of(b"never sealed")
DEVICE = device_id("volume", "SN-07")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return build(tmp_path_factory.mktemp("scene") / "vault")


def drafts(scene: Scene, vault: Vault, actor: Actor) -> dict[str, Draft]:
    """Acts that the facade would refuse, or that nobody would log."""
    clip, case = str(scene.clips[1]), scene.case
    session = str(vault.catalogue.acquisitions(scene.clips[1])[0].session)
    sealed = {
        "clip": clip, "bytes": 1, "chunk_bytes": 1, "chunk_root": "00" * 32, "media": "video", "condition": "whole",
    }  # fmt: skip

    def draft(kind: str, **fields: str | int) -> Draft:
        return Draft(type=kind, actor=actor, fields=fields, private={"reason": "x"})

    return {
        "a view of what was never sealed": draft("clip.viewed", clip=str(UNKNOWN), view="v", scope="whole"),
        "an export of what was never sealed": draft("clip.exported", clip=str(UNKNOWN), export="e", form="original"),
        "a second seal": draft("clip.sealed", **sealed),
        "a first acquisition that is none": acquired(actor, scene.clips[1], DEVICE, session, 1_500_000, path="x"),
        "an acquisition of another size": acquired(
            actor, scene.clips[1], DEVICE, session, 7, path="x", outcome="duplicate"
        ),
        "an acquisition outside a docking": acquired(
            actor, scene.clips[1], DEVICE, "no-session", 1_500_000, path="x", outcome="duplicate"
        ),
        "a link to a case never opened": draft("clip.linked", clip=clip, case="no-case"),
        "a link that stands already": draft("clip.linked", clip=clip, case=case),
        "an unlinking of what is not linked": draft("clip.unlinked", clip=str(scene.clips[2]), case=case),
        "a case opened twice": draft("case.opened", case=case),
        "a second genesis": Draft(
            type="log.genesis", actor=actor, fields={"origin": vault.origin, "vkey": "v", "software": "s"}
        ),
    }


CASES = [
    "a view of what was never sealed",
    "an export of what was never sealed",
    "a second seal",
    "a first acquisition that is none",
    "an acquisition of another size",
    "an acquisition outside a docking",
    "a link to a case never opened",
    "a link that stands already",
    "an unlinking of what is not linked",
    "a case opened twice",
    "a second genesis",
]


@pytest.mark.parametrize("name", CASES)
def test_custody_names_the_entry_of(original: Scene, tmp_path: Path, name: str) -> None:
    """REC-06: each breach is found in a log whose signature and tree are perfect, and its entry is named."""
    scene = original.copy(tmp_path / "vault")
    with Vault.open(scene.root) as vault:
        actor = vault.actor("zhang", role="custodian")
        index = vault.submit([drafts(scene, vault, actor)[name]])[0].index
    report = verify_vault(scene.root, objects=False)
    assert report.exit_code == 22
    assert [step.outcome for step in report.steps[:6]] == ["ok", "ok", "ok", "ok", "fault", "ok"]
    assert report.faults[0].object.startswith(f"entry {index} (")


def test_ordinary_acts_are_no_breach(original: Scene, tmp_path: Path) -> None:
    """Unlink and link again, a duplicate, views and exports: custody in order."""
    scene = original.copy(tmp_path / "vault")
    with Vault.open(scene.root) as vault:
        actor = vault.actor("zhang", role="custodian")
        session = vault.catalogue.acquisitions(scene.clips[1])[0].session
        vault.unlink(actor, scene.clips[1], scene.case, "误关联")
        vault.link(actor, scene.clips[1], scene.case, "更正")
        vault.submit([acquired(actor, scene.clips[1], DEVICE, session, 1_500_000, path=NAMES[1], outcome="duplicate")])
        vault.record_export(actor, scene.clips, "original", "交付")
    assert verify_vault(scene.root).holds


# --- envelopes, entry by entry ---------------------------------------------------------------------------------------------


def entry(
    kind: str = "incident.detected", *, t: int = 0, prev: dict[str, int] | None = None, **fields: str
) -> LogEntry:
    body = {"kind": "x", "body": "sha256:" + "0" * 64} if kind == "incident.detected" else {}
    given_id = fields.pop("id", f"id-{t}-{len(fields)}")
    return LogEntry(
        time_ms=t,
        prev=prev or {},
        statement=Statement(type=kind, id=given_id, actor_id="p", actor_role="admin", fields={**body, **fields}),
    )


GENESIS = entry("log.genesis", id="genesis", origin="o", vkey="v", software="s")


def fed(*entries: LogEntry) -> Custody:
    custody = Custody(origin="o", vkey="v")
    for each in entries:
        custody.feed(each)
    return custody


def test_time_may_stand_still_but_never_go_back() -> None:
    assert fed(GENESIS, entry(t=5, id="a"), entry(t=5, id="b")).envelope_faults == []
    (fault,) = fed(GENESIS, entry(t=5, id="a"), entry(t=4, id="b")).envelope_faults
    assert fault.object == "entry 2 (incident.detected)"


def test_an_id_is_used_once() -> None:
    (fault,) = fed(GENESIS, entry(id="a"), entry(id="a")).envelope_faults
    assert "repeats the id a of entry 1" in fault.message


@pytest.mark.parametrize("prev", [{}, {"case": -1}, {"case": 0}, {"case": 2}, {"case": 1, "clip": -1}])
def test_the_link_to_the_entry_before_must_be_the_right_one(prev: dict[str, int]) -> None:
    opened = entry("case.opened", id="a", prev={"case": -1}, case="c", body="sha256:" + "0" * 64)
    again = entry("case.opened", id="b", prev=prev, case="c", body="sha256:" + "1" * 64)
    faults = fed(GENESIS, opened, again).envelope_faults
    assert {fault.object for fault in faults} == {"entry 2 (case.opened)"}


def test_a_log_that_does_not_begin_with_its_genesis_is_named() -> None:
    assert fed(entry(id="a")).faults[0].object == "entry 0 (incident.detected)"
    wrong = entry("log.genesis", id="g", origin="other", vkey="w", software="s")
    assert ["is of log" in str(f) or "names key" in str(f) for f in fed(wrong).faults] == [True, True]


def test_nothing_is_held_against_entries_behind_a_gap() -> None:
    """What the missing entries said is unknown; their loss is reported, the rest is not blamed for it."""
    custody = fed(GENESIS)
    custody.skip(3)
    custody.feed(entry("clip.viewed", prev={"clip": 2}, clip="sha256:x", view="v", scope="s", body="b"))
    assert custody.faults == custody.envelope_faults == []
    assert custody.size == 5


def test_an_act_of_somebody_unregistered_is_noticed_once() -> None:
    stranger = LogEntry(
        time_ms=0,
        prev={},
        statement=Statement(
            type="incident.detected", id="z", actor_id="nobody", actor_role="admin", fields={"kind": "k", "body": "b"}
        ),
    )
    custody = fed(GENESIS, stranger)
    assert [finding.object for finding in custody.findings] == ["person nobody"]


# --- reading entries quickly must not mean reading them loosely ------------------------------------------------------------

GOOD = LogEntry(
    time_ms=1_700_000_000_123,
    prev={"clip": 3},
    statement=Statement(
        type="clip.viewed",
        id="i",
        actor_id="p",
        actor_role="reviewer",
        fields={"clip": "sha256:" + "a" * 64, "view": "v", "scope": "whole", "body": "sha256:" + "b" * 64},
    ),
).encode()


def test_the_quick_reader_reads_what_the_strict_one_reads() -> None:
    from vault.entry import decode

    assert read_entry(GOOD) == decode(GOOD)


@given(at=st.integers(0, len(GOOD) - 1), value=st.integers(0, 255))
def test_the_quick_reader_accepts_no_byte_that_the_strict_one_refuses(at: int, value: int) -> None:
    """Any one byte replaced: both accept the same entry, or both refuse."""
    from vault.entry import decode

    data = GOOD[:at] + bytes([value]) + GOOD[at + 1 :]
    try:
        strict: LogEntry | None = decode(data)
    except EntryInvalidError:
        strict = None
    try:
        quick: LogEntry | None = read_entry(data)
    except EntryInvalidError:
        quick = None
    assert quick == strict
