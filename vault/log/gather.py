"""Gathering the calls of many threads into batches, without a thread of our own and without waiting for more.

Whoever finds nobody leading leads: it takes what is queued, works through one batch, and names the first call still
queued as the next leader. A lone caller therefore commits at once, and callers that come while a batch is being
committed share the next one.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from vault.errors import StorageError, VaultError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from vault.log.batch import Planned, Prepared


class Call:
    """One call on its way through a batch. Done when it has an answer or an error."""

    __slots__ = ("answer", "error", "leads", "planned", "prepared", "wake")

    def __init__(self, prepared: list[Prepared]) -> None:
        self.prepared = prepared
        self.planned: list[Planned] = []
        self.answer: Any = None
        self.error: VaultError | None = None
        self.wake = threading.Event()
        self.leads = False

    @property
    def done(self) -> bool:
        """Whether a leader has dealt with it."""
        return self.answer is not None or self.error is not None


class Gatherer:
    """Runs `commit` on one batch of calls at a time. `commit` answers each call or sets its error."""

    def __init__(self, commit: Callable[[list[Call]], None], *, statements_max: int) -> None:
        self._commit = commit
        self._statements_max = statements_max  # a single longer call is still one batch
        self._mutex = threading.Lock()  # over the queue and whether somebody leads
        self._queue: deque[Call] = deque()
        self._led = False

    def run(self, call: Call) -> None:
        """Return when the call was answered; raises its error."""
        with self._mutex:
            self._queue.append(call)
            lead, self._led = not self._led, True
        if not lead:
            self._await(call)
        if not call.done:
            self._lead()
        if call.error is not None:
            raise call.error

    def _await(self, call: Call) -> None:
        """Wait until the call is done or its thread must lead."""
        try:
            call.wake.wait()
        except BaseException:  # an interrupted thread must not take the leadership with it
            with self._mutex:
                if call in self._queue:
                    self._queue.remove(call)
                if call.leads:
                    self._hand_over()
            raise

    def _lead(self) -> None:
        calls = self._take()
        try:
            self._commit(calls)
        except VaultError as err:
            for call in calls:
                call.error = call.error or err
        finally:
            for call in calls:
                if not call.done:
                    call.error = StorageError("the sequencer was interrupted; repeat with the same ids")
            with self._mutex:
                self._hand_over()
            for call in calls:
                call.wake.set()

    def _take(self) -> list[Call]:
        calls: list[Call] = []
        count = 0
        with self._mutex:
            while self._queue and (not calls or count + len(self._queue[0].prepared) <= self._statements_max):
                calls.append(self._queue.popleft())
                count += len(calls[-1].prepared)
        return calls

    def _hand_over(self) -> None:
        self._led = bool(self._queue)
        if self._led:
            self._queue[0].leads = True
            self._queue[0].wake.set()
