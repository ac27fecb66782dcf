"""One clip, verified by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from evidence import Scene, build, flip, log_entries, write_log

from vault.entry import decode
from vault.errors import NotFoundError
from vault.model import Digest
from vault.vault import Vault
from vault.verification.verify import verify_clip

if TYPE_CHECKING:
    from pathlib import Path

    from vault.verification.verdict import Report


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return build(tmp_path_factory.mktemp("scene") / "vault")


@pytest.fixture
def scene(original: Scene, tmp_path: Path) -> Scene:
    return original.copy(tmp_path / "vault")


def verdict(scene: Scene, number: int = 1) -> Report:
    with Vault.open(scene.root) as vault:
        return verify_clip(vault, scene.clips[number])


@pytest.mark.parametrize("number", [0, 1, 2])
def test_an_untouched_clip_holds_and_answers_the_four_questions(scene: Scene, number: int) -> None:
    """EXT-10: signature, reproducible process, integrity value, equal to the original; the empty clip too."""
    report = verdict(scene, number)
    assert [step.outcome for step in report.steps] == ["ok"] * 4
    assert [answer.yes for answer in report.answers] == [True] * 4
    assert len(report.fingerprint) == 64
    assert str(scene.clips[number]) in report.steps[3].detail


def test_changed_footage_is_named(scene: Scene) -> None:
    with Vault.open(scene.root) as vault:
        flip(vault.objects.path(scene.clips[1]))
    report = verdict(scene)
    assert (report.exit_code, report.faults[0].object.split(" (")[0]) == (21, f"clip {scene.clips[1]}")
    assert [answer.yes for answer in report.answers] == [True, True, False, False]
    assert verdict(scene, 2).holds


def test_missing_footage_is_named(scene: Scene) -> None:
    with Vault.open(scene.root) as vault:
        vault.objects.path(scene.clips[1]).unlink()
    assert verdict(scene).exit_code == 24


def test_a_changed_entry_of_its_chain_is_named(scene: Scene) -> None:
    entries = log_entries(scene.root)
    entries[13] = entries[13].replace(b"custodian", b"custodiam")
    with Vault.open(scene.root) as vault:
        write_log(scene.root, entries, tiles=False)
        report = verify_clip(vault, scene.clips[1])
    assert report.exit_code == 22
    assert report.faults[0].object == f"clip {scene.clips[1]}, entry 13"


def test_a_changed_record_names_its_entry(scene: Scene) -> None:
    body = Digest.parse(str(decode(log_entries(scene.root)[14]).statement.fields["body"]))
    with Vault.open(scene.root) as vault:
        flip(vault.records.path(body))
    report = verdict(scene)
    assert report.exit_code == 25
    assert report.faults[0].object.startswith("entry 14 (clip.viewed of clip sha256:")


def test_a_checkpoint_that_is_not_signed_leaves_nothing_to_claim(scene: Scene) -> None:
    with Vault.open(scene.root) as vault:
        flip(scene.root / "log" / "checkpoint", 5)
        report = verify_clip(vault, scene.clips[1])
    assert report.exit_code == 20
    assert [step.outcome for step in report.steps] == ["fault", "skipped", "skipped", "skipped"]


def test_an_unknown_clip_is_not_found(scene: Scene) -> None:
    with Vault.open(scene.root) as vault, pytest.raises(NotFoundError):
        verify_clip(vault, Digest.of(b"unknown"))
