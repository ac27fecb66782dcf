"""The commands: what they do, what they print, and that scripts can rely on it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import footage
import pytest

from vault.vault import Vault

COMMAND = [sys.executable, "-P", "-m", "api.cli.main"]
FIELDS = {"clip", "name", "path", "bytes", "index", "status", "error"}


def fill(card):
    """A small card: two files of one name, a damaged one, an empty one, a Chinese name."""
    for folder in ("DCIM/100MEDIA", "DCIM/101MEDIA", "照片"):
        (card / folder).mkdir(parents=True)
    footage.h264_aac_mp4(card / "DCIM/100MEDIA/LZ00127_TJ0318_20261103091502.MP4", seconds=2)
    footage.jpeg(card / "DCIM/101MEDIA/LZ00127_TJ0318_20261103091502.MP4")
    footage.mp4_no_moov(card / "DCIM/101MEDIA/LZ00127_TJ0318_20261103110533.MP4", seconds=2)
    (card / "DCIM/101MEDIA/LZ00127_TJ0318_20261103110602.MP4").write_bytes(b"")
    (card / "照片/现场.log").write_text("开机\n")
    return card


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    """The card, for those who only read it."""
    return fill(tmp_path_factory.mktemp("shared") / "card")


@pytest.fixture(scope="module")
def sealed_once(card, tmp_path_factory):
    """A vault in which the card is sealed, made once; the lines that `ingest --json` wrote."""
    data = tmp_path_factory.mktemp("sealed") / "vault"
    Vault.init(data).close()
    ended = subprocess.run(
        [*COMMAND, "--data", data, "ingest", card, "--json"], capture_output=True, text=True, check=True
    )
    return data, [json.loads(line) for line in ended.stdout.splitlines()]


@pytest.fixture
def sealed(sealed_once, tmp_path):
    """The test's own copy of that vault; the lines that `ingest --json` wrote."""
    shutil.copytree(sealed_once[0], tmp_path / "vault")
    return sealed_once[1]


def the(lines, part):
    (found,) = [line for line in lines if part in line["path"]]
    return found


# --- ingest ----------------------------------------------------------------------------------------------------------


def test_ingest_writes_one_documented_object_a_file(sealed, card):
    assert len(sealed) == 5
    for line in sealed:
        assert set(line) == FIELDS
        data = (card / line["path"]).read_bytes()
        assert line["clip"] == f"sha256:{hashlib.sha256(data).hexdigest()}"
        assert line["bytes"] == len(data)
        assert line["name"] == line["path"].rpartition("/")[2]
        assert isinstance(line["index"], int)
        assert (line["error"] is None) == (line["status"] == "sealed")
    assert the(sealed, "100MEDIA")["status"] == "sealed"
    assert the(sealed, "110533")["status"] == the(sealed, "110602")["status"] == "damaged"


def test_what_ingest_reports_is_in_the_log_and_on_the_disk(sealed, liuhen, tmp_path):
    """I4: every line names an entry of the signed log and an object of these very bytes."""
    entries = {line["index"]: line["entry"]["statement"] for line in liuhen("log", "entries", "--json").lines}
    for line in sealed:
        assert entries[line["index"]]["type"] == "clip.sealed"
        assert entries[line["index"]]["clip"] == line["clip"]
        hex_digits = line["clip"].removeprefix("sha256:")
        stored = tmp_path / "vault" / "objects" / hex_digits[:2] / hex_digits[2:4] / hex_digits
        assert hashlib.sha256(stored.read_bytes()).hexdigest() == hex_digits


def test_a_damaged_clip_tells_why_in_the_readers_language(sealed, liuhen, monkeypatch):
    assert "the file is empty" in liuhen("clip", "show", the(sealed, "110602")["clip"]).out
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    told = liuhen("clip", "show", the(sealed, "110602")["clip"]).out
    assert "文件为空" in told
    assert "受损" in told


def test_a_second_ingest_reports_duplicates(sealed, liuhen, card):
    again = liuhen("ingest", card, "--json")
    assert again.status == 0
    assert {line["status"] for line in again.lines} == {"duplicate"}
    assert {line["clip"] for line in again.lines} == {line["clip"] for line in sealed}


def test_skip_known_leaves_the_log_alone(sealed, liuhen, card):
    before = liuhen("log", "checkpoint").out
    again = liuhen("ingest", "--skip-known", card)
    assert again.status == 0
    assert "5 files taken before" in again.out
    assert liuhen("log", "checkpoint").out == before


def test_a_single_file_can_be_named(vault, liuhen, card):
    vault.close()
    ended = liuhen("ingest", card / "照片/现场.log", "--json")
    assert [line["name"] for line in ended.lines] == ["现场.log"]


def test_a_missing_card_fails_and_the_others_are_taken(vault, liuhen, card, tmp_path):
    vault.close()
    ended = liuhen("ingest", tmp_path / "nowhere", card, "--json")
    assert ended.status == 2
    assert ended.error["type"] == "VolumeUnusableError"
    assert len(ended.lines) == 5


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_an_unreadable_file_fails_alone(vault, liuhen, tmp_path):
    vault.close()
    card = fill(tmp_path / "card")
    locked = card / "照片/现场.log"
    locked.chmod(0)
    ended = liuhen("ingest", card, "--json")
    assert ended.status == 1
    assert the(ended.lines, "现场")["status"] == "failed"
    assert ended.error["type"] == "IngestIncompleteError"
    locked.chmod(0o644)
    assert liuhen("ingest", card).status == 0


def test_the_data_directory_may_be_named_from_where_one_stands(tmp_path, card, monkeypatch, capfd):
    from api.cli.app import run

    monkeypatch.chdir(tmp_path)
    assert run(["init"]) == 0
    assert run(["ingest", os.path.relpath(card), "--json"]) == 0, capfd.readouterr().err
    assert (tmp_path / "liuhen-data" / "objects").is_dir()


def test_several_cards_are_taken_at_once_and_reported_apart(vault, liuhen, tmp_path):
    vault.close()
    for number in range(3):
        folder = tmp_path / f"card{number}"
        folder.mkdir()
        for name in ("a.log", "b.log"):
            (folder / name).write_text(f"{number} {name}")
    ended = liuhen("ingest", *(tmp_path / f"card{number}" for number in range(3)))
    assert ended.status == 0, ended.err
    for number in range(3):
        assert f"card{number}: a.log" in ended.out
        assert f"card{number}: 2 sealed" in ended.out
    assert len(liuhen("device", "list", "--json").lines) == 3


def test_ingest_can_link_to_a_case(vault, liuhen, card):
    vault.close()
    assert liuhen("case", "new", "案1", "--title", "采伐").status == 0
    assert liuhen("ingest", card, "--case", "案1").status == 0
    assert len(liuhen("case", "show", "案1", "--json").document["clips"]) == 5
    assert liuhen("ingest", card, "--case", "案2").status == 1


def test_plain_lines_name_every_file_and_sum_up(vault, liuhen, card):
    vault.close()
    ended = liuhen("ingest", card)
    assert len([line for line in ended.out.splitlines() if "LZ00127" in line]) == 4
    assert "3 sealed · 2 sealed as damaged · 0 duplicate · 0 failed" in ended.out


def test_ctrl_c_ends_clean_and_the_same_command_finishes(tmp_path):
    """I4: an interruption leaves a vault that holds; nothing reported before it is lost."""
    card = fill(tmp_path / "card")
    (card / "long.bin").write_bytes(os.urandom(100 << 20))
    data = tmp_path / "vault"
    Vault.init(data).close()
    command = [*COMMAND, "--data", data, "ingest", card, "--json"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        first = running.stdout.readline()
        time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        rest, err = running.communicate(timeout=240)
    finally:
        running.kill()
    assert "Traceback" not in err
    assert running.returncode in (0, 130), err
    if running.returncode == 130:
        assert "interrupted" in err
    told = [json.loads(line) for line in (first + rest).splitlines()]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    final = {json.loads(line)["clip"]: json.loads(line) for line in finished.stdout.splitlines()}
    for line in told:
        assert final[line["clip"]]["index"] == line["index"]
    assert subprocess.run([*COMMAND, "--data", data, "verify"], capture_output=True, check=False).returncode == 0


# --- clips -----------------------------------------------------------------------------------------------------------


def test_clip_list_and_show_agree_with_ingest(sealed, liuhen):
    listed = {line["clip"]: line for line in liuhen("clip", "list", "--json").lines}
    assert set(listed) == {line["clip"] for line in sealed}
    shown = liuhen("clip", "show", the(sealed, "100MEDIA")["clip"], "--json").document
    assert shown["index"] == the(sealed, "100MEDIA")["index"]
    assert shown["acquisitions"][0]["path"] == the(sealed, "100MEDIA")["path"]
    assert shown["facts"]["streams"]


def test_clip_list_in_a_pipe_is_tab_separated_with_whole_digests(sealed, liuhen):
    first_columns = {line.split("\t")[0] for line in liuhen("clip", "list").out.splitlines()}
    assert first_columns == {line["clip"] for line in sealed}


def test_clip_list_filters(sealed, liuhen):
    assert len(liuhen("clip", "list", "--damaged", "--json").lines) == 2
    assert len(liuhen("clip", "list", "--text", "091502", "--json").lines) == 2
    assert len(liuhen("clip", "list", "--unlinked", "--json").lines) == 5


def test_clip_get_gives_the_original_and_logs_it_first(sealed, liuhen, card, tmp_path):
    """I6: handing out bytes is on record, with its purpose."""
    clip = the(sealed, "100MEDIA")
    ended = liuhen("clip", "get", clip["clip"], "-o", tmp_path / "out.mp4", "--purpose", "庭审", "--json")
    assert ended.status == 0, ended.err
    assert (tmp_path / "out.mp4").read_bytes() == (card / clip["path"]).read_bytes()
    last = liuhen("clip", "history", clip["clip"], "--json").lines[-1]
    assert last["type"] == "clip.exported"
    assert last["index"] == ended.document["index"]
    assert last["private"]["purpose"] == "庭审"


def test_an_unstated_purpose_is_recorded_as_unstated(sealed, liuhen, tmp_path):
    liuhen("clip", "get", sealed[0]["clip"], "-o", tmp_path / "out")
    assert (
        liuhen("clip", "history", sealed[0]["clip"], "--json").lines[-1]["private"]["purpose"].startswith("not stated")
    )


def test_an_existing_file_is_never_replaced_unasked_and_nothing_is_logged(sealed, liuhen, tmp_path):
    (tmp_path / "out").write_text("mine")
    before = liuhen("log", "checkpoint").out
    for command in ("get", "proof"):
        assert liuhen("clip", command, sealed[0]["clip"], "-o", tmp_path / "out").status == 2
    assert liuhen("export", sealed[0]["clip"], "-o", tmp_path / "out").status == 2
    assert (tmp_path / "out").read_text() == "mine"
    assert liuhen("log", "checkpoint").out == before
    assert liuhen("clip", "proof", sealed[0]["clip"], "-o", tmp_path / "out", "--force").status == 0


def test_a_flipped_bit_is_never_handed_out(sealed, liuhen, tmp_path):
    """I8: what was changed on the disk stops on its way out, and no file appears."""
    clip = the(sealed, "100MEDIA")["clip"]
    digits = clip.removeprefix("sha256:")
    stored = tmp_path / "vault/objects" / digits[:2] / digits[2:4] / digits
    data = bytearray(stored.read_bytes())
    data[len(data) // 2] ^= 1
    stored.chmod(0o644)
    stored.write_bytes(data)
    assert liuhen("clip", "get", clip, "-o", tmp_path / "out").status == 21
    assert [path.name for path in tmp_path.iterdir() if "out" in path.name] == []
    assert liuhen("clip", "verify", clip).status == 21
    ended = liuhen("verify", "--json")
    assert ended.status == 21
    assert digits in json.dumps(ended.document["faults"])
    assert liuhen("verify", "--no-objects").status == 0


def test_clip_proof_is_a_tlog_proof_of_its_entry(sealed, liuhen, tmp_path):
    liuhen("clip", "proof", sealed[0]["clip"], "-o", tmp_path / "proof")
    lines = (tmp_path / "proof").read_text().splitlines()
    assert lines[0] == "c2sp.org/tlog-proof@v1"
    assert f"index {sealed[0]['index']}" in lines


def test_a_short_digest_is_enough_and_a_wrong_one_is_named(sealed, liuhen):
    assert liuhen("clip", "show", sealed[0]["clip"][7:17]).status == 0
    assert "is not in this vault" in liuhen("clip", "show", "0" * 10).err


# --- cases, devices, log -----------------------------------------------------------------------------------------------


def test_the_life_of_a_case(sealed, liuhen):
    opened = liuhen(
        "case", "new", "案1", "--title", "采伐", "--target", "某厂", "--category", "行政处罚", "--json"
    ).document
    assert liuhen("case", "new", "案1", "--title", "x").status == 1
    clip = sealed[0]["clip"]
    linked = liuhen("case", "link", "案1", clip, "--reason", "现场", "--json").document
    assert linked["index"] > opened["index"]
    assert liuhen("case", "link", "案1", clip).status == 1
    shown = liuhen("case", "show", opened["case"], "--json").document
    assert [item["clip"] for item in shown["clips"]] == [clip]
    assert shown["clips"][0]["link"]["reason"] == "现场"
    assert liuhen("case", "list", "--json").document["clips"] == 1
    assert liuhen("case", "unlink", "案1", clip, "--reason", "错案").status == 0
    assert liuhen("case", "show", "案1", "--json").document["clips"] == []
    types = [line["type"] for line in liuhen("clip", "history", clip, "--json").lines]
    assert types[-2:] == ["clip.linked", "clip.unlinked"]


def test_devices_are_listed(sealed, liuhen, card):
    device = liuhen("device", "list", "--json").document
    assert device["device"].startswith("dev-")
    assert str(card) in json.dumps(device["identity"], ensure_ascii=False)


def test_the_checkpoint_is_printed_as_it_stands(sealed, liuhen, tmp_path):
    note = (tmp_path / "vault/log/checkpoint").read_text()
    assert liuhen("log", "checkpoint").out == note
    document = liuhen("log", "checkpoint", "--json").document
    assert document["note"] == note
    assert note.splitlines()[1:3] == [str(document["size"]), document["root"]]
    assert len(base64.b64decode(document["root"])) == 32


def test_entries_can_be_cut_out(sealed, liuhen):
    assert [line["index"] for line in liuhen("log", "entries", "--start", "2", "--end", "4", "--json").lines] == [2, 3]
    assert liuhen("log", "entries", "--end", "100000").status == 2


# --- verify, rebuild, export -----------------------------------------------------------------------------------------


def test_verify_prints_numbered_steps_and_holds(sealed, liuhen):
    ended = liuhen("verify")
    assert ended.status == 0
    assert [line[0] for line in ended.out.splitlines() if re.match(r"\d  ", line)] == list("12345678")
    assert "All holds." in ended.out


def test_verify_takes_a_kept_checkpoint(sealed, liuhen, tmp_path, card):
    kept = tmp_path / "kept"
    kept.write_text(liuhen("log", "checkpoint").out)
    liuhen("ingest", card)
    assert liuhen("verify", "--since", kept).status == 0
    kept.write_text(kept.read_text().replace(kept.read_text().splitlines()[2], base64.b64encode(b"x" * 32).decode()))
    assert 20 <= liuhen("verify", "--since", kept).status <= 29
    assert liuhen("verify", "--since", tmp_path / "none").status == 2


def test_rebuild_brings_a_lost_catalogue_back(sealed, liuhen, tmp_path):
    """I7: without its catalogue the vault names the command that makes it again, and all is as before."""
    before = liuhen("clip", "list", "--json").out
    for path in (tmp_path / "vault").glob("catalogue.db*"):
        path.unlink()
    ended = liuhen("clip", "list")
    assert ended.status == 26
    assert "liuhen rebuild" in ended.err
    assert liuhen("rebuild", "--json").document["entries"] > 5
    assert liuhen("clip", "list", "--json").out == before


def test_export_makes_a_bag_that_checks_itself(sealed, liuhen, tmp_path):
    """I6: the hand-out is logged before the bag exists."""
    bag = tmp_path / "bag.zip"
    ended = liuhen("export", the(sealed, "100MEDIA")["clip"], "-o", bag, "--purpose", "移送", "--json")
    assert ended.status == 0, ended.err
    assert ended.document["file"] == str(bag)
    with zipfile.ZipFile(bag) as archive:
        archive.extractall(tmp_path / "bag")
    (script,) = (tmp_path / "bag").rglob("verify.py")
    checked = subprocess.run(
        [sys.executable, "-I", script], cwd=script.parent, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    last = liuhen("clip", "history", the(sealed, "100MEDIA")["clip"], "--json").lines[-1]
    assert (last["type"], last["private"]["purpose"]) == ("clip.exported", "移送")


def test_export_takes_a_whole_case(sealed, liuhen, tmp_path):
    liuhen("case", "new", "案1", "--title", "x")
    liuhen("case", "link", "案1", *(line["clip"] for line in sealed[:2]))
    assert liuhen("export", "案1", "-o", tmp_path / "bag.zip", "--json").document["clips"] == 2
    assert liuhen("export", "没有", "-o", tmp_path / "none.zip").status == 1


# --- the rest --------------------------------------------------------------------------------------------------------


def test_init_makes_a_vault_once(tmp_path, liuhen):
    made = liuhen("init", "--origin", "agency.example/liuhen", "--json").document
    assert made["origin"] == "agency.example/liuhen"
    assert made["vkey"].startswith("agency.example/liuhen+")
    assert liuhen("init").status == 1


def test_common_options_stand_before_or_after_the_command(vault, tmp_path, capfd):
    from api.cli.app import run

    vault.close()
    data = str(tmp_path / "vault")
    capfd.readouterr()
    assert run(["case", "list", "--data", data, "--json"]) == 0
    assert run(["--json", "--data", data, "case", "list"]) == 0


def test_config_shows_value_source_and_meaning(liuhen, monkeypatch, tmp_path):
    monkeypatch.setenv("LIUHEN_PORT", "9000")
    shown = liuhen("config", "--json").document
    assert shown["data"] == {"value": str(tmp_path / "vault"), "source": "option --data"}
    assert shown["settings"]["port"]["value"] == 9000
    assert shown["settings"]["port"]["source"] == "environment LIUHEN_PORT"
    assert "port\t9000\tenvironment LIUHEN_PORT\t" in liuhen("config").out


def test_text_from_outside_tricks_neither_terminal_nor_script(sealed, liuhen):
    liuhen("case", "new", "n1", "--title", "a\tb\nc\x1b[31m\u202e")
    (line,) = liuhen("case", "list").out.splitlines()
    assert line.split("\t")[1] == r"a\u0009b\u000ac\u001b[31m\u202e"
    assert liuhen("case", "show", "n1", "--json").document["title"] == "a\tb\nc\x1b[31m\u202e"


def test_the_account_is_the_systems_and_no_variables(sealed, liuhen, monkeypatch):
    """I9: no environment variable changes who acts."""
    for name in ("USER", "LOGNAME", "SUDO_USER", "USERNAME"):
        monkeypatch.setenv(name, "somebody-else")
    before = liuhen("clip", "history", sealed[0]["clip"], "--json").lines[-1]["actor"]
    liuhen("case", "new", "n2", "--title", "x")
    assert liuhen("log", "entries", "--json").lines[-1]["entry"]["statement"]["actor"] == before


def test_what_cannot_be_meant_is_a_usage_error_and_not_a_fault_of_the_vault(sealed, liuhen, tmp_path):
    """A mistyped option must not look like an integrity fault, nor let anybody believe that a field was withheld."""
    junk = tmp_path / "junk"
    junk.write_text("no checkpoint\n")
    clip = sealed[0]["clip"]
    size = liuhen("log", "checkpoint").out
    for arguments in (
        ("verify", "--since", junk),
        ("verify", "--vkey", "bad"),
        ("clip", "list", "--media", "film"),
        ("export", clip, "-o", tmp_path / "a.zip", "--withhold", "nonsense"),
        ("export", clip, "-o", tmp_path / "nowhere" / "a.zip"),
    ):
        ended = liuhen(*arguments)
        assert ended.status == 2, (arguments, ended)
        assert ended.err
    assert not (tmp_path / "a.zip").exists()
    assert liuhen("log", "checkpoint").out == size
    assert liuhen("export", clip, "-o", tmp_path / "a.zip", "--withhold", "path").status == 0
