"""RESULTS.md and the plots: one table and one bar chart per experiment."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import matplotlib as mpl

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.harness import Experiment, Result

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "liuhen"  # the same figures give the same file

from matplotlib import pyplot as plt  # noqa: E402 - after the backend was chosen

OURS, PEER = "#1f5fa8", "#b9bfc7"


def commit() -> str:
    """Name the commit that was measured."""
    ended = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return ended.stdout.strip() or "unknown"


def table(experiment: Experiment, results: list[Result]) -> str:
    """Return one experiment as Markdown."""
    references = [next(r for r in results if r.contender.name == name) for name in experiment.references]
    lines = [
        f"## {experiment.name}",
        "",
        f"**Question.** {experiment.question}",
        "",
        f"**Method.** {experiment.method} One warm-up round, then {experiment.rounds} rounds, in turn.",
        "",
        f"| | median s | min–max s | {experiment.unit}/s | core-s | held up by |"
        + "".join(f" speed against {name} |" for name in experiment.references),
        "|---|---|---|---|---|---|" + "---|" * len(references),
    ]
    for result in results:
        low, high = result.spread_s
        lines.append(
            f"| {result.contender.name} | {result.wall_s:.2f} | {low:.2f}–{high:.2f} | "
            f"{experiment.work / result.wall_s:,.2f} | {result.core_s:.2f} | {result.limit} |"
            + "".join(f" {reference.wall_s / result.wall_s:.2f} × |" for reference in references)
        )
    lines += ["", f"![{experiment.name}](plots/{slug(experiment)}.svg)", ""]
    notes = [f"- *{r.contender.name}*: {r.contender.note}" for r in results if r.contender.note]
    return "\n".join([*lines, *notes, ""])


def plot(experiment: Experiment, results: list[Result], target: Path) -> None:
    """Draw the medians as bars with the spread as whiskers."""
    shown = results[::-1]
    medians = [result.wall_s for result in shown]
    low = [result.wall_s - result.spread_s[0] for result in shown]
    high = [result.spread_s[1] - result.wall_s for result in shown]
    colours = [OURS if result.contender.name.startswith("liuhen") else PEER for result in shown]
    figure, axes = plt.subplots(figsize=(8, 0.55 * len(shown) + 1.1), layout="constrained")
    axes.barh([result.contender.name for result in shown], medians, xerr=[low, high], color=colours, capsize=3)
    axes.set_xlabel("seconds, shorter is better (median; whiskers: shortest and longest run)")
    axes.set_title(experiment.name, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, metadata={"Date": None, "Creator": None})
    plt.close(figure)


def slug(experiment: Experiment) -> str:
    """Return the experiment's name as a file name."""
    return "".join(c if c.isalnum() else "-" for c in experiment.name.lower()).strip("-").replace("--", "-")


def head(machine: str, load: str, command: str) -> str:
    """Return the beginning of RESULTS.md."""
    return "\n".join(
        [
            "# Benchmarks",
            "",
            f"Made by `{command}` on {datetime.now(UTC):%Y-%m-%d}, commit {commit()}.",
            "",
            f"Machine: {machine}; {load} when it began. Trust the ratios within one table more than any figure alone.",
            "",
        ]
    )
