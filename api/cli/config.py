"""`liuhen config`: every setting, its value, where it came from and what it means."""

import typer

from api.cli.invocation import Invocation, command


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "config")(show)


def show(invocation: Invocation) -> None:
    """Show each setting, its value, where it came from and what it means."""
    configuration = invocation.configuration
    if invocation.json:
        invocation.document(
            {
                "data": {"value": str(configuration.data), "source": configuration.data_source},
                "file": None if configuration.file is None else str(configuration.file),
                "settings": {
                    item.key: {"value": item.value, "source": item.source, "meaning": item.meaning}
                    for item in configuration.values()
                },
            }
        )
        return
    data = ("data", str(configuration.data), configuration.data_source, "data directory of the vault")
    rows = [
        (
            item.key,
            str(item.value).lower() if isinstance(item.value, bool) else str(item.value),
            item.source,
            item.meaning,
        )
        for item in configuration.values()
    ]
    invocation.table(("key", "value", "source", "meaning"), [data, *rows])
