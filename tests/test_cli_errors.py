"""How commands fail: one line, a remedy, a stable status, never a trace."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from api.cli import app, doctor
from vault.vault import Vault

COMMAND = [sys.executable, "-P", "-m", "api.cli.main"]


def test_a_missing_vault_is_one_line_and_a_remedy(liuhen):
    ended = liuhen("clip", "list")
    assert ended.status == 1
    assert ended.out == ""
    first, second = ended.err.splitlines()
    assert first.startswith("liuhen: there is no vault in ")
    assert "liuhen init" in second


def test_with_json_an_error_is_one_object_on_stderr(liuhen):
    ended = liuhen("clip", "list", "--json")
    assert ended.out == ""
    assert ended.error["type"] == "VaultMissingError"
    assert ended.error["exit_code"] == ended.status == 1
    assert "liuhen init" in ended.error["remedy"]


def test_json_may_stand_before_the_command(tmp_path, liuhen, capfd):
    assert app.run(["--json", "--data", str(tmp_path), "clip", "list"]) == 1
    assert json.loads(capfd.readouterr().err)["error"]["type"] == "VaultMissingError"


def test_errors_speak_chinese_where_the_system_does(liuhen, monkeypatch):
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    ended = liuhen("clip", "list")
    assert ended.err.startswith("留痕：没有证据库：")
    assert "用 --data" in ended.err


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["clip"], ["clip", "show"], ["clip", "list", "--bad"], ["serve", "--port", "70000"]]
)
def test_wrong_usage_ends_with_two(liuhen, arguments):
    ended = liuhen(*arguments)
    assert ended.status == 2
    assert ended.err.startswith("liuhen: ")
    assert liuhen(*arguments, "--json").error["type"] == "UsageError"


def test_a_wrong_setting_ends_with_two(liuhen, monkeypatch):
    monkeypatch.setenv("LIUHEN_PORT", "many")
    assert liuhen("config").status == 2
    assert liuhen("config", "--json").error["type"] == "ConfigError"


def test_without_arguments_the_help_is_shown(capfd):
    assert app.run([]) == 0
    assert "ingest" in capfd.readouterr().out


def test_a_bug_is_one_line_with_the_place_of_a_report(liuhen, monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)

    def broken(_root):
        raise ZeroDivisionError("first line\nsecond line")

    monkeypatch.setattr(doctor, "examine", broken)
    ended = liuhen("doctor")
    assert ended.status == 1
    assert ended.err.count("\n") == 1
    assert "Traceback" not in ended.err
    report = Path(re.search(r"full report: (\S+)", ended.err)[1])
    assert "ZeroDivisionError: first line" in report.read_text()
    assert report.stat().st_mode & 0o077 == 0
    assert liuhen("doctor", "--json").error["type"] == "UnexpectedError"


def test_a_reader_that_leaves_is_not_an_error(tmp_path):
    with Vault.init(tmp_path / "vault") as vault:
        actor = vault.actor("a", role="custodian")
        for number in range(2000):
            if number % 500 == 0:
                vault.open_case(actor, number=f"n{number}", title="x" * 3000)
    ended = subprocess.run(
        ["sh", "-c", f'{" ".join(COMMAND)} --data {tmp_path}/vault log entries --json 2>{tmp_path}/err | true; cat {tmp_path}/err'],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.stdout == ""


def test_a_full_disk_under_the_output_is_told():
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run([*COMMAND, "config"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 1
    assert "No space left" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_name_the_terminal_cannot_show_stops_nothing(tmp_path):
    with Vault.init(tmp_path / "vault") as vault:
        vault.open_case(vault.actor("a", role="custodian"), number="案1", title="砍伐")
    environment = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    for extra in ([], ["--json"]):
        ended = subprocess.run(
            [*COMMAND, "--data", tmp_path / "vault", "case", "list", *extra],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        assert "\\u6848" in ended.stdout
    assert json.loads(ended.stdout)["number"] == "案1"
