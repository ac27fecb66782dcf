"""Progress of long work: a bar with amount, rate and time left on a terminal, nothing but plain lines otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from api import present

if TYPE_CHECKING:
    from rich.console import Console


class Meter:
    """One bar, and lines above it. Silent about numbers where nobody watches a terminal."""

    def __init__(self, console: Console, *, shown: bool = True) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            _Amount(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not (shown and console.is_terminal),
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def begin(self, what: str, total: int | None = None, *, unit: str = "bytes") -> None:
        """Start a bar of `total` units (None: not known yet)."""
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(what, total=total, unit=unit)

    def update(self, done: int, *, what: str | None = None, total: int | None = None) -> None:
        """Move the bar, and name what is being worked on."""
        if self._task is not None:
            self._bar.update(self._task, completed=done, total=total, description=what)

    def line(self, text: str) -> None:
        """Write a line above the bar."""
        self._console.print(Text(text), soft_wrap=True)


class _Amount(ProgressColumn):
    """How much of how much, and how fast, in the task's own unit."""

    def render(self, task: Task) -> Text:
        """Return the column's text for a task."""
        bytes_unit = task.fields.get("unit") == "bytes"

        def amount(value: float) -> str:
            return present.size(int(value)) if bytes_unit else f"{value:,.0f}"

        done = amount(task.completed) + (f" / {amount(task.total)}" if task.total else "")
        rate = f"  {amount(task.speed)}/s" if task.speed else ""
        return Text(done + rate)
