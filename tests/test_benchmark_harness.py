"""The benchmarks measure what they say: in turn, warmed up, cold when cold."""

from __future__ import annotations

import os
import sys

import pytest

from benchmarks import harness
from benchmarks.harness import Contender, Experiment, Result, Run, cool, resident_share, run_experiment, warm


def contender(name, order, **more):
    return Contender(name=name, command=[sys.executable, "-c", "pass"], before=lambda: order.append(name), **more)


def test_contenders_run_in_turn_after_a_warm_up_round():
    order: list[str] = []
    experiment = Experiment(
        name="x", question="", method="", contenders=[contender("a", order), contender("b", order)],
        work=1, unit="GB", references=["a"], rounds=2,
    )  # fmt: skip
    results = run_experiment(experiment, lambda _: None)
    assert order == ["a", "b"] * 3
    assert [len(result.runs) for result in results] == [2, 2]


def test_a_failing_contender_stops_the_experiment_with_its_words():
    failing = Contender(name="x", command=["sh", "-c", "echo why >&2; exit 3"])
    with pytest.raises(SystemExit, match="why"):
        harness.run_once(failing)


def test_what_a_contender_measured_itself_is_taken():
    told = Contender(name="x", command=["echo", '{"wall_s": 1.5, "core_s": 0.5}'], inner=True)
    run = harness.run_once(told)
    assert (run.wall_s, run.core_s) == (1.5, 0.5)


def test_what_held_a_contender_up_is_told_apart():
    def limit(**figures):
        return Result(contender=Contender(name="x", command=[]), runs=[Run(wall_s=1, **figures)]).limit.split(" (")[0]

    assert limit(core_s=1.0) == "one core"
    assert limit(core_s=0.99 * (os.cpu_count() or 1) + 0.01) in {"all cores", "one core"}
    assert limit(core_s=0.3, disk_wait=0.6, core_wait=0.1) == "disk"
    assert limit(core_s=0.3, disk_wait=0.1, core_wait=0.6) == "other work on this machine"


def test_cold_means_out_of_the_page_cache(tmp_path):
    if harness.file_system(tmp_path) in {"tmpfs", "ramfs"}:
        pytest.skip("nothing leaves the page cache of a file system in memory")
    file = tmp_path / "file"
    file.write_bytes(os.urandom(8 << 20))
    warm(file)
    with file.open("rb") as opened:
        assert resident_share(opened.fileno()) == 1
        cool(file)
        assert resident_share(opened.fileno()) < 0.05


def test_the_machine_is_described_without_its_name(tmp_path):
    line = harness.machine(tmp_path)
    assert os.uname().nodename not in line
    assert "GiB RAM" in line


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_quick_run_writes_results_and_plots(tmp_path):
    pytest.importorskip("matplotlib")
    import subprocess

    subprocess.run(
        [sys.executable, "-P", "-m", "benchmarks.run", "--quick", "--scratch", tmp_path, "--out", tmp_path / "out"],
        check=True,
    )
    text = (tmp_path / "out" / "RESULTS.md").read_text()
    assert text.count("## ") == 3
    assert len(list((tmp_path / "out" / "plots").glob("*.svg"))) == 3
    assert str(tmp_path) not in text
