"""`liuhen init`: create a vault, once."""

from typing import Annotated

import typer

from api.cli.invocation import Invocation, command
from api.health import require_local
from vault.vault import Vault


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "init")(init)


def init(
    invocation: Invocation,
    *,
    origin: Annotated[
        str | None,
        typer.Option(help="Name of the log in every checkpoint, like `agency.example/liuhen`; default: a random one."),
    ] = None,
) -> None:
    """Create a vault in an empty or missing data directory."""
    root = invocation.configuration.data
    require_local(root)
    with Vault.init(root, origin=origin) as vault:
        vkey = (vault.root / "log" / "vkey").read_text().strip()
        if invocation.json:
            invocation.document({"data": str(root), "origin": vault.origin, "vkey": vkey})
            return
        say = invocation.say
        invocation.line(say("init.done", root=root))
        invocation.line(say("init.origin", origin=vault.origin))
        invocation.line(say("init.vkey", vkey=vkey))
        invocation.line(say("init.advice"))
