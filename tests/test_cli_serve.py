"""`liuhen serve`, `liuhen sign-in` and `scripts/run`: how a person gets to the pages."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from api.cli.serve import base_url
from vault.vault import Vault

ROOT = Path(__file__).parent.parent
COMMAND = [sys.executable, "-P", "-m", "api.cli.main"]


@contextmanager
def serving(*arguments):
    """Run a server; yields the process and the JSON it announces itself with."""
    running = subprocess.Popen([*COMMAND, *map(str, arguments), "--json"], stdout=subprocess.PIPE, text=True)
    try:
        yield running, json.loads(running.stdout.readline())
    finally:
        running.send_signal(signal.SIGINT)
        try:
            running.wait(timeout=120)
        finally:
            running.kill()
            running.stdout.close()


@pytest.fixture
def data(tmp_path):
    Vault.init(tmp_path / "vault").close()
    return tmp_path / "vault"


def test_serve_prints_a_link_that_signs_in_once(data):
    with serving("--data", data, "serve", "--port", "0") as (running, told):
        assert told["sign_in"].startswith(told["url"] + "/sign-in?token=")
        with httpx.Client(trust_env=False, timeout=60) as browser:
            assert browser.get(told["url"] + "/clips", headers={"accept": "text/html"}).status_code == 401
            assert enter(browser, told["sign_in"])
        with httpx.Client(trust_env=False, timeout=60) as another:
            assert not enter(another, told["sign_in"])
    assert running.returncode == 0


def test_the_link_is_told_at_once_to_whoever_reads_through_a_pipe(data):
    """`make run | tee`, a service manager and a log file show the link while the server runs, not after it."""
    command = [*COMMAND, "--data", str(data), "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        try:
            readable, _, _ = select.select([running.stdout], [], [], 120)
            assert readable, "nothing was printed while the server ran"
            assert "http://127.0.0.1:" in running.stdout.readline()
        finally:
            running.send_signal(signal.SIGINT)


def enter(browser, link):
    """Follow a sign-in link as a browser does; returns whether the clips are shown afterwards."""
    page = browser.get(link, headers={"accept": "text/html"}, follow_redirects=True)
    return page.status_code == 200 and page.url.path == "/clips"


def test_sign_in_gives_a_fresh_link_to_a_running_server(data, liuhen):
    with serving("--data", data, "serve", "--port", "0") as (_, told):
        fresh = liuhen("sign-in", "--json").document["sign_in"]
        assert fresh != told["sign_in"]
        with httpx.Client(trust_env=False, timeout=60) as browser:
            assert enter(browser, told["url"] + "/sign-in" + fresh.partition("/sign-in")[2])


def test_a_taken_port_is_an_error_with_a_remedy(data, liuhen):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = liuhen("serve", "--port", port)
    assert ended.status == 1
    assert f"127.0.0.1 port {port}" in ended.err
    assert "--port" in ended.err.splitlines()[1]


def test_an_address_that_is_not_ours_is_an_error(data, liuhen):
    assert liuhen("serve", "--host", "203.0.113.1", "--port", "0", "--json").error["type"] == "ListenError"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:1"),
        ("0.0.0.0", "http://127.0.0.1:1"),  # noqa: S104 - only written down
        ("::1", "http://[::1]:1"),
        ("box.example", "http://box.example:1"),
    ],
)
def test_the_address_people_type(host, url):
    assert base_url(host, 1) == url


@pytest.mark.timeout(1800)  # a clean checkout encodes its sample here, and CI may be busy
def test_make_run_seals_the_sample_and_a_second_run_changes_nothing(tmp_path):
    """The newcomer's path: vault, sample card, seals, case, pages; then the same again."""
    if not (ROOT / ".venv/bin/liuhen").exists() or Path(sys.prefix) != ROOT / ".venv":
        pytest.skip("scripts/run uses .venv of this checkout")
    data = tmp_path / "data"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    def run_once():
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        running = subprocess.Popen(
            [ROOT / "scripts/run", data, str(port)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, env=environment,
        )  # fmt: skip
        said = []
        try:
            for line in running.stdout:
                said.append(line)
                if "/sign-in?token=" in line:
                    break
        finally:
            running.send_signal(signal.SIGINT)
            rest, _ = running.communicate(timeout=120)
        return "".join(said) + rest

    first = run_once()
    assert f"http://127.0.0.1:{port}/sign-in?token=" in first, first
    with Vault.open(data) as vault:
        size = vault.reader.checkpoint().size
        clips = vault.catalogue.clips()
        (case,) = vault.catalogue.cases()
        assert vault.catalogue.count_clips(case=case.id) >= 3
    kinds = {str(clip.facts.get("container", "")) for clip in clips}
    assert len(clips) == 14
    assert len(kinds - {""}) >= 5
    assert sum(clip.condition == "damaged" for clip in clips) == 2
    again = run_once()
    assert "/sign-in?token=" in again
    with Vault.open(data) as vault:
        assert vault.reader.checkpoint().size == size
    shutil.rmtree(data)
