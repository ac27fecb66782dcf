"""`liuhen log`: the signed log itself."""

import base64
import json
from typing import Annotated

import typer

from api.cli.invocation import Invocation, command
from api.errors import UsageError
from vault.entry import decode, format_time

app = typer.Typer(help="The signed, append-only log.")


@command(app, "checkpoint")
def checkpoint(invocation: Invocation) -> None:
    """Print the latest signed checkpoint. Kept elsewhere, it proves any later change of history."""
    with invocation.vault() as vault:
        latest = vault.reader.checkpoint()
        vkey = (vault.root / "log" / "vkey").read_text().strip()
    if invocation.json:
        invocation.document(
            {
                "origin": latest.origin,
                "size": latest.size,
                "root": base64.b64encode(latest.root).decode(),
                "note": latest.note.decode(),
                "vkey": vkey,
            }
        )
    else:
        invocation.out.file.write(latest.note.decode())


@command(app, "entries")
def entries(
    invocation: Invocation,
    *,
    start: Annotated[int, typer.Option("--start", min=0, metavar="INDEX", help="First entry.")] = 0,
    end: Annotated[
        int | None, typer.Option("--end", metavar="INDEX", help="Entry to stop before; default: all.")
    ] = None,
) -> None:
    """List log entries, each authenticated against the checkpoint."""
    with invocation.vault() as vault:
        latest = vault.reader.checkpoint()
        stop = latest.size if end is None else end
        if not start <= stop <= latest.size:
            raise UsageError(f"entries {start} to {stop}: the log has {latest.size}")
        for index, data in vault.reader.entries(start, stop, latest):
            if invocation.json:
                invocation.document({"index": index, "entry": json.loads(data)})
                continue
            entry = decode(data)
            subjects = " ".join(entry.statement.subjects().values())
            invocation.line(f"{index}\t{format_time(entry.time_ms)}\t{entry.statement.type}\t{subjects}")
