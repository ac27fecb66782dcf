"""Progress of long work: a bar with amount, rate and time left on a terminal, nothing but plain lines otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from api import present

if TYPE_CHECKING:
    from rich.console import Console


class Meter:
    """Bars, and lines above them. Silent about numbers where nobody watches a terminal. Safe for threads."""

    def __init__(self, console: Console, *, shown: bool = True) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            _Amount(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not (shown and console.is_terminal),
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begin(self, what: str, total: int | None = None, *, unit: str = "bytes") -> Bar:
        """Start a bar of `total` units (None: not known yet)."""
        return Bar(self._progress, self._progress.add_task(what, total=total, unit=unit))

    def line(self, text: str) -> None:
        """Write a line above the bars."""
        self._console.print(Text(text), soft_wrap=True)


class Bar:
    """One bar of a meter."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def update(self, done: int, *, what: str | None = None, total: int | None = None) -> None:
        """Move the bar, and name what is being worked on."""
        self._progress.update(self._task, completed=done, total=total, description=what)

    def end(self) -> None:
        """Take the bar away."""
        self._progress.remove_task(self._task)


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
