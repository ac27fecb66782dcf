"""Many threads' calls become few batches; nobody is left waiting when a thread is interrupted."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest

from vault.errors import ConflictError, StorageError
from vault.log.gather import Call, Gatherer

if TYPE_CHECKING:
    from collections.abc import Callable


def call(count: int = 1) -> Call:
    return Call([object()] * count)


class Slow:
    """A commit that answers each call with its batch's size, and holds the first batch until told."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.entered = threading.Event()
        self.release = threading.Event()

    def __call__(self, calls: list[Call]) -> None:
        self.batches.append(len(calls))
        self.entered.set()
        assert self.release.wait(120)
        for each in calls:
            each.answer = len(calls)


def start(act: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=act)
    thread.start()
    return thread


def wait_until_queued(gatherer: Gatherer, count: int) -> None:
    for _ in range(2000):
        with gatherer._mutex:
            if len(gatherer._queue) >= count:
                return
        threading.Event().wait(0.005)
    raise AssertionError("nobody queued")


def test_what_comes_during_a_batch_shares_the_next_one() -> None:
    commit = Slow()
    gatherer = Gatherer(commit, statements_max=100)
    first = start(lambda: gatherer.run(call()))
    assert commit.entered.wait(120)
    later = [start(lambda: gatherer.run(call())) for _ in range(20)]
    wait_until_queued(gatherer, 20)
    commit.release.set()
    for thread in [first, *later]:
        thread.join(120)
    assert commit.batches == [1, 20]


def test_a_batch_has_a_limit_and_a_longer_call_is_its_own() -> None:
    commit = Slow()
    gatherer = Gatherer(commit, statements_max=10)
    threads = [start(lambda: gatherer.run(call()))]
    assert commit.entered.wait(120)
    for queued, count in enumerate((6, 4, 1, 25, 3), start=1):
        threads.append(start(lambda count=count: gatherer.run(call(count))))
        wait_until_queued(gatherer, queued)
    commit.release.set()
    for thread in threads:
        thread.join(120)
    assert commit.batches == [1, 2, 1, 1, 1]


def test_an_error_of_the_batch_reaches_every_caller_of_it() -> None:
    def commit(calls: list[Call]) -> None:
        raise StorageError("disk full")

    gatherer = Gatherer(commit, statements_max=10)
    for _ in range(2):
        with pytest.raises(StorageError, match="disk full"):
            gatherer.run(call())


def test_an_interrupted_leader_leaves_no_caller_without_an_answer() -> None:
    entered, release, outcomes = threading.Event(), threading.Event(), []

    def commit(calls: list[Call]) -> None:
        entered.set()
        assert release.wait(120)
        if len(calls) > 1:
            raise KeyboardInterrupt
        calls[0].answer = "answered"

    gatherer = Gatherer(commit, statements_max=10)

    def work() -> None:
        try:
            gatherer.run(call())
        except (StorageError, KeyboardInterrupt) as err:
            outcomes.append(type(err))

    threads = [start(work)]
    assert entered.wait(120)
    threads += [start(work) for _ in range(4)]
    wait_until_queued(gatherer, 4)
    release.set()
    for thread in threads:
        thread.join(120)
    assert sorted(outcomes, key=str) == [KeyboardInterrupt, StorageError, StorageError, StorageError]
    last = call()
    gatherer.run(last)
    assert last.answer == "answered"


def test_an_interrupted_waiter_does_not_take_the_leadership_with_it() -> None:
    commit = Slow()
    gatherer = Gatherer(commit, statements_max=10)
    first = start(lambda: gatherer.run(call()))
    assert commit.entered.wait(120)

    waiting = threading.get_ident()

    def interrupt() -> None:
        wait_until_queued(gatherer, 1)
        signal.pthread_kill(waiting, signal.SIGINT)

    interrupter = start(interrupt)
    with pytest.raises(KeyboardInterrupt):
        gatherer.run(call())
    interrupter.join(120)
    commit.release.set()
    first.join(120)
    last = call()
    gatherer.run(last)
    assert last.answer == 1


def test_a_callers_own_error_stays_its_own() -> None:
    def commit(calls: list[Call]) -> None:
        calls[0].error = ConflictError("mine")

    with pytest.raises(ConflictError, match="mine"):
        Gatherer(commit, statements_max=1).run(call())
