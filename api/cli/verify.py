"""`liuhen verify`: re-derive everything from the bytes and say in numbered steps what holds."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from api.cli.invocation import Invocation, command
from api.errors import UsageError
from api.progress import Bar, Meter
from api.web.i18n import Translator
from hardware.recorder import printable
from vault.errors import CheckpointInvalidError
from vault.log.checkpoint import Verifier, parse_checkpoint
from vault.verification.verdict import TRUST_SELF_EN, TRUST_SELF_ZH, Report
from vault.verification.verify import Progress, verify_vault


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "verify")(verify)


def verify(
    invocation: Invocation,
    *,
    since: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A checkpoint kept elsewhere: prove that nothing since was rewritten."),
    ] = None,
    vkey: Annotated[
        str | None, typer.Option(metavar="KEY", help="The log's verifier key, from a source you trust.")
    ] = None,
    objects: Annotated[
        bool, typer.Option("--objects/--no-objects", help="Whether to read every original again.")
    ] = True,
) -> int:
    """Check the whole vault: signature, every entry, custody, records, originals, catalogue.

    Exit status 0: all holds. 20-29: an integrity fault, with the clip, entry or file named.
    """
    note = None if since is None else read_note(since)
    if vkey is not None:
        with usage("--vkey"):
            Verifier.parse(vkey)
    with Meter(invocation.err, shown=not invocation.json) as meter:
        report = verify_vault(
            invocation.configuration.data,
            objects=objects,
            since=note,
            vkey=vkey,
            on_progress=follow(meter, invocation.say),
        )
    show(invocation, report)
    return report.exit_code


def read_note(path: Path) -> bytes:
    """Read a kept checkpoint; raises UsageError when there is none: a wrong file says nothing about the vault."""
    try:
        note = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as err:
        raise UsageError(f"{path}: {err.strerror}") from err
    with usage(f"--since {path}"):
        parse_checkpoint(note)
    return note


@contextmanager
def usage(option: str) -> Iterator[None]:
    """Call what cannot be read in an option a mistake of the caller, not a fault of the vault."""
    try:
        yield
    except CheckpointInvalidError as err:
        raise UsageError(f"{option}: {err}") from err


def follow(meter: Meter, say: Translator) -> Callable[[Progress], None]:
    """Return what moves the bar: one bar a step."""
    bars: dict[int, Bar] = {}

    def on_progress(progress: Progress) -> None:
        if progress.step not in bars:
            for bar in bars.values():
                bar.end()
            bars.clear()
            title = say("verify.step", number=progress.step)
            bars[progress.step] = meter.begin(title, progress.total, unit=progress.unit)
        bars[progress.step].update(progress.done, total=progress.total)

    return on_progress


def show(invocation: Invocation, report: Report) -> None:
    """Show a report: steps, faults with their remedies, what was noticed, the four questions, how far to trust it."""
    if invocation.json:
        invocation.document(report.to_json())
        return
    say, chinese = invocation.say, invocation.say.language == "zh-CN"
    for step in report.steps:
        title = step.title_zh if chinese else step.title_en
        detail = f" ({printable(step.detail)})" if step.detail else ""
        invocation.line(f"{step.number}  {say(f'verify.{step.outcome}')}  {title}{detail}")
    for fault in report.faults:
        invocation.line(f"{say('verify.fault')} {fault.code}: {printable(str(fault))}")
    for remedy in dict.fromkeys(fault.remedy for fault in report.faults):
        invocation.line(say("remedy", remedy=remedy))
    for finding in report.findings:
        invocation.line(f"{say('verify.finding')}: {printable(f'{finding.object}: {finding.message}')}")
    for answer in report.answers:
        question = answer.question_zh if chinese else answer.question_en
        invocation.line(f"{question}  {say('verify.yes' if answer.yes else 'verify.no')}")
    invocation.line(say("verify.holds" if report.holds else "verify.fails"))
    invocation.line(TRUST_SELF_ZH if chinese else TRUST_SELF_EN)
