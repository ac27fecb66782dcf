"""`liuhen rebuild`: make the catalogue again from the log (I7)."""

import typer

from api.cli.invocation import Invocation, command
from api.health import require_local
from api.progress import Meter
from vault.catalogue.rebuild import rebuild as rebuild_catalogue


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "rebuild")(rebuild)


def rebuild(invocation: Invocation) -> None:
    """Make the catalogue again from the verified log, its records and its originals. Needs the vault alone."""
    require_local(invocation.configuration.data)
    with Meter(invocation.err, shown=not invocation.json) as meter:
        bar = meter.begin("rebuild", unit="entries")
        entries = rebuild_catalogue(
            invocation.configuration.data, on_progress=lambda done, total: bar.update(done, total=total)
        )
    if invocation.json:
        invocation.document({"entries": entries})
    else:
        invocation.line(invocation.say("rebuild.done", entries=entries))
