"""`liuhen device`: where footage came from."""

import typer

from api import present
from api.cli import shapes
from api.cli.invocation import Invocation, command

app = typer.Typer(help="Recorders, cards and folders that footage came from.")


@command(app, "list")
def list_devices(invocation: Invocation) -> None:
    """List devices, the latest docked first."""
    with invocation.vault() as vault:
        devices = vault.catalogue.devices()
    if invocation.json:
        for device in devices:
            invocation.document(shapes.device(device))
        return
    invocation.table(
        ("device", "label", "driver", "docked"),
        [(d.id, d.label, d.driver, present.moment(d.last_docked_at)) for d in devices],
    )
