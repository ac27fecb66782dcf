import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hardware.errors import SandboxCrashedError, SandboxTaskError, SandboxTimeoutError
from hardware.sandbox import ANSWER_BYTES_MAX, Sandbox
from hardware.testing import WORKER

MEMORY_BYTES = 512 << 20


@pytest.fixture
def sandbox():
    with Sandbox(WORKER, memory_bytes=MEMORY_BYTES, cpu_s=20, deadline_s=60) as sandbox:
        yield sandbox


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _wait_until_dead(pid: int) -> bool:
    for _ in range(1500):
        if not _alive(pid):
            return True
        time.sleep(0.02)
    return False


def _still_serves(sandbox: Sandbox) -> bool:
    return sandbox.call({"do": "echo", "say": "well"})["echo"] == "well"


def test_one_child_serves_many_calls_and_progress(sandbox):
    steps = []
    first = sandbox.call({"do": "echo", "say": "中文 \udcff", "steps": 3}, on_progress=steps.append)
    second = sandbox.call({"do": "echo", "say": 2})
    assert first["echo"] == "中文 \udcff"
    assert steps == [{"step": 0}, {"step": 1}, {"step": 2}]
    assert first["pid"] == second["pid"]


def test_requests_larger_than_a_pipe_pass(sandbox):
    assert len(sandbox.call({"do": "echo", "say": "x" * 1_000_000})["echo"]) == 1_000_000


def test_the_environment_and_working_directory_do_not_follow(sandbox, monkeypatch, tmp_path):
    monkeypatch.setenv("LIUHEN_SECRET", "hush")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hardware.py").write_text("raise SystemExit('shadowed')")
    answer = sandbox.call({"do": "echo"})
    assert answer["cwd"] == "/"
    assert {"LIUHEN_SECRET", "PYTHONPATH", "HOME"}.isdisjoint(answer["environment"])


def test_a_silent_worker_is_killed_at_the_deadline(sandbox):
    started = time.monotonic()
    with pytest.raises(SandboxTimeoutError) as caught:
        sandbox.call({"do": "sleep"}, deadline_s=0.3)
    assert time.monotonic() - started < 30  # the sandbox would wait a minute
    assert caught.value.deadline_s == 0.3
    assert _still_serves(sandbox)


def test_an_endless_loop_ends_with_its_processor_time():
    with Sandbox(WORKER, memory_bytes=MEMORY_BYTES, cpu_s=0, deadline_s=60) as sandbox:
        with pytest.raises(SandboxCrashedError) as caught:
            sandbox.call({"do": "spin"})
        assert caught.value.reason == "cpu"
        assert _still_serves(sandbox)


def test_too_much_memory_is_named_as_the_reason(sandbox):
    assert sandbox.call({"do": "hoard", "bytes": 1 << 20}) == {"bytes": 1 << 20}
    with pytest.raises(SandboxCrashedError) as caught:
        sandbox.call({"do": "hoard", "bytes": 1 << 30})
    assert (caught.value.reason, caught.value.calls) == ("memory", 1)
    assert _still_serves(sandbox)


@pytest.mark.parametrize(
    ("request_", "reason", "detail"),
    [
        ({"do": "die", "status": 7}, "exit", "exit status 7"),
        ({"do": "die", "signal": signal.SIGSEGV}, "signal", "Segmentation fault"),
        ({"do": "die", "signal": signal.SIGKILL}, "signal", "Killed"),
        ({"do": "speak", "raw": "garbage\n", "seconds": 5}, "protocol", "not a message"),
        ({"do": "speak", "raw": "[" * 100_000 + "\n", "seconds": 5}, "protocol", "not a message"),
        ({"do": "speak", "raw": '{"call": 99, "result": {}}\n', "seconds": 5}, "protocol", "not an answer to call 1"),
        ({"do": "speak", "raw": '{"call": 1, "result": []}\n', "seconds": 5}, "protocol", "not an answer to call 1"),
        ({"do": "speak", "raw": '{"call": 1, "result": {}}\n' * 2, "seconds": 5}, "protocol", "spoke on"),
        (
            {"do": "speak", "raw": "x" * (1 << 20), "times": ANSWER_BYTES_MAX >> 19},
            "protocol",
            "an answer of more than",
        ),
    ],
    ids=["exit", "segfault", "killed", "garbage", "deep", "other_call", "no_object", "two_answers", "endless_answer"],
)
def test_a_worker_that_dies_or_lies_is_an_error_with_its_reason(sandbox, request_, reason, detail):
    with pytest.raises(SandboxCrashedError) as caught:
        sandbox.call(request_)
    assert caught.value.reason == reason
    assert detail in caught.value.detail
    assert _still_serves(sandbox)


def test_an_answer_left_over_never_meets_the_next_request(sandbox):
    sandbox.call({"do": "speak", "raw": ""})
    child = sandbox.call({"do": "echo"})["pid"]
    with pytest.raises(SandboxCrashedError):
        sandbox.call({"do": "speak", "raw": '{"call": 3, "result": {"forged": true}}\n{"call": 4, "result": {}}\n'})
    assert sandbox.call({"do": "echo"})["pid"] != child


def test_last_words_are_kept_bounded(sandbox):
    with pytest.raises(SandboxCrashedError) as caught:
        sandbox.call({"do": "die"})
    assert caught.value.stderr == "last words\n"
    with pytest.raises(SandboxTaskError) as failed:
        sandbox.call({"do": "flood"})
    assert "the end" in failed.value.stderr
    assert len(failed.value.stderr) <= 8 << 10


def test_a_refused_task_leaves_the_worker_alive(sandbox):
    before = sandbox.call({"do": "echo"})["pid"]
    with pytest.raises(SandboxTaskError) as caught:
        sandbox.call({"do": "fail"})
    assert (caught.value.kind, caught.value.text) == ("ValueError", "the file makes no sense")
    assert sandbox.call({"do": "echo"})["pid"] == before


def test_abort_from_another_thread_ends_the_call(sandbox):
    aborting = threading.Thread(target=sandbox.abort)
    with pytest.raises(SandboxCrashedError) as caught:
        sandbox.call({"do": "sleep", "tell": True}, on_progress=lambda _: aborting.start())
    aborting.join()
    assert caught.value.reason == "aborted"
    assert _still_serves(sandbox)


def test_closing_kills_what_the_worker_started(sandbox):
    grandchild = sandbox.call({"do": "spawn"})["pid"]
    sandbox.close()
    assert _wait_until_dead(grandchild)


def test_the_worker_and_its_children_die_with_a_killed_parent():
    script = (
        "import time; from hardware.sandbox import Sandbox\n"
        f"s = Sandbox({WORKER!r}, memory_bytes={MEMORY_BYTES}, cpu_s=9, deadline_s=60)\n"
        "print(s.call({'do': 'echo'})['pid'], s.call({'do': 'spawn'})['pid'], flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-P", "-c", script], stdout=subprocess.PIPE) as parent:
        child, grandchild = map(int, parent.stdout.readline().split())
        assert _alive(child)
        assert _alive(grandchild)
        parent.kill()
    assert _wait_until_dead(child)
    assert _wait_until_dead(grandchild)


def test_the_worker_outlives_the_thread_that_started_it(sandbox):
    thread = threading.Thread(target=sandbox.start)
    thread.start()
    thread.join()
    time.sleep(0.2)
    child = sandbox._child
    assert _still_serves(sandbox)
    assert sandbox._child is child


def test_the_worker_reaches_no_network(sandbox):
    sandbox.start()
    if sandbox.isolation["network"] != "none":
        pytest.skip(f"this kernel does not let us leave the network: {sandbox.isolation['network']}")
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(SandboxTaskError):
        sandbox.call({"do": "connect", "port": server.getsockname()[1]})


def test_the_worker_changes_no_file(sandbox, tmp_path):
    """I1: a decoder taken over by its input cannot touch an object or the log."""
    sealed = tmp_path / "sealed"
    sealed.write_bytes(b"evidence")
    with pytest.raises((SandboxTaskError, SandboxCrashedError)):
        sandbox.call({"do": "write", "path": str(sealed)})
    with pytest.raises((SandboxTaskError, SandboxCrashedError)):
        sandbox.call({"do": "write", "path": str(tmp_path / "new")})
    if sandbox.isolation["files"] == "read-only":
        with pytest.raises(SandboxTaskError):
            sandbox.call({"do": "remove", "path": str(sealed)})
        assert sealed.read_bytes() == b"evidence"
        assert [path.name for path in tmp_path.iterdir()] == ["sealed"]


def test_a_worker_writes_only_where_it_was_told(tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    with Sandbox(WORKER, memory_bytes=MEMORY_BYTES, cpu_s=9, deadline_s=60, writable=[inside]) as sandbox:
        assert sandbox.call({"do": "write", "path": str(inside / "file")}) == {"written": True}
        assert sandbox.call({"do": "remove", "path": str(inside / "file")}) == {"removed": True}
        if sandbox.isolation["files"].startswith("read-only"):
            with pytest.raises(SandboxTaskError):
                sandbox.call({"do": "write", "path": str(outside / "file")})
            assert not list(outside.iterdir())


def test_a_module_that_cannot_start_is_named():
    with (
        Sandbox("hardware.no_such_module", memory_bytes=MEMORY_BYTES, cpu_s=9, deadline_s=60) as sandbox,
        pytest.raises(SandboxCrashedError, match=r"hardware\.no_such_module"),
    ):
        sandbox.start()
