"""`liuhen serve` and `liuhen sign-in`: the review pages, and the way into them."""

import ipaddress
import socket
from contextlib import suppress
from typing import Annotated

import typer

from api.cli.invocation import Invocation, command, system_account, with_settings
from api.errors import ListenError
from api.web.sessions import create_sign_in_link
from vault.model import Role
from vault.vault import Vault

BACKLOG = 256  # connections the system holds while we are busy
STOP_S = 3  # an open player must not keep the service from stopping


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(app, "serve")(serve)
    command(app, "sign-in")(sign_in)


AccountOption = Annotated[
    str | None, typer.Option("--account", metavar="NAME", help="Who signs in; default: your account of this system.")
]
RoleOption = Annotated[Role, typer.Option("--role", help="In which role they sign in.")]


def serve(
    invocation: Invocation,
    *,
    host: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Address to listen on (setting `host`).")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, metavar="N", help="TCP port (setting `port`); 0: any free one.")
    ] = None,
) -> None:
    """Serve the review pages until Ctrl-C, and print a one-time sign-in link."""
    import uvicorn  # noqa: PLC0415 - only this command needs the web server; the others start faster without it

    from api.web.app import create_app  # noqa: PLC0415 - the same

    invocation = with_settings(invocation, host=host, port=port)
    settings = invocation.settings
    with listen(settings.host, settings.port) as listening, invocation.vault() as vault:
        url = base_url(settings.host, listening.getsockname()[1])
        app = create_app(vault, settings)
        _announce(invocation, url, _link(invocation, vault, url, None, "supervisor"))
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                access_log=False,  # who looked at what is in the signed log; addresses of pages are nobody's business
                log_level="warning",
                server_header=False,
                timeout_graceful_shutdown=STOP_S,
                lifespan="on",
            )
        )
        with suppress(KeyboardInterrupt):  # uvicorn raises it again once everything is answered and closed
            server.run(sockets=[listening])


def sign_in(invocation: Invocation, *, account: AccountOption = None, role: RoleOption = "supervisor") -> None:
    """Print a fresh one-time sign-in link for a running `liuhen serve`."""
    settings = invocation.settings
    with invocation.vault() as vault:
        _announce(invocation, None, _link(invocation, vault, base_url(settings.host, settings.port), account, role))


def _link(invocation: Invocation, vault: Vault, url: str, account: str | None, role: Role) -> str:
    return create_sign_in_link(vault, url, account or system_account(), role, invocation.settings.sign_in_minutes * 60)


def _announce(invocation: Invocation, url: str | None, link: str) -> None:
    minutes = invocation.settings.sign_in_minutes
    if invocation.json:
        invocation.document({"url": url, "sign_in": link, "valid_minutes": minutes})
        return
    say = invocation.say
    if url is not None:
        invocation.line(say("serve.at", url=url))
    invocation.line(say("serve.link", url=link, minutes=minutes))
    if url is not None:
        invocation.line(say("serve.stop"))


def listen(host: str, port: int) -> socket.socket:
    """Take the address before anything else is done; raises ListenError, which says what to do."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(BACKLOG)
        except BaseException:
            listening.close()
            raise
    except OSError as err:
        raise ListenError(f"{host} port {port}: {err.strerror or err}") from err
    return listening


def base_url(host: str, port: int) -> str:
    """Return the address people type: a wildcard address becomes this machine's own."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"http://{host}:{port}"
    if address.is_unspecified:
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
