"""`liuhen doctor`: say whether this machine is fit to keep evidence."""

import typer

from api.cli.invocation import Invocation, command
from api.health import examine


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "doctor")(doctor)


def doctor(invocation: Invocation) -> int:
    """Check the data directory, the disk, the keys, the clock and the log's head; change nothing."""
    findings = list(examine(invocation.configuration.data))
    failed = [finding for finding in findings if finding.state == "fail"]
    if invocation.json:
        shown = [
            {"check": item.check, "result": item.state, "detail": item.detail, "remedy": item.remedy or None}
            for item in findings
        ]
        invocation.document({"healthy": not failed, "checks": shown})
    else:
        say = invocation.say
        invocation.table(
            ("check", "result", "detail"),
            [
                (item.check, say(f"doctor.{item.state}"), item.detail + (f" → {item.remedy}" if item.remedy else ""))
                for item in findings
            ],
        )
    return failed[0].exit_code if failed else 0
