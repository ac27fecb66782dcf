"""The command tree and the one boundary where errors become words and exit statuses."""

import os
import sys
from typing import cast

import typer

from api.cli import (
    case,
    clip,
    config,
    device,
    doctor,
    export,
    ingest,
    init,
    log,
    rebuild,
    serve,
    verify,
    words,
)
from api.cli.faults import tell, tell_unexpected, tell_words
from api.cli.invocation import CommonOptions, ConfigOption, DataOption, JsonOption
from api.errors import BROKEN_PIPE, INTERRUPTED
from hardware.errors import HardwareError
from vault.errors import LiuhenError

HELP = "Liuhen (留痕): seal an agency's footage, prove it, replay it at once."


def _globals(
    context: typer.Context, *, data: DataOption = None, config_file: ConfigOption = None, as_json: JsonOption = False
) -> None:
    context.obj = CommonOptions(data=data, config=config_file, json=as_json)


def build() -> typer.Typer:
    """Put the commands together."""
    app = typer.Typer(name="liuhen", help=HELP, add_completion=False, pretty_exceptions_enable=False)
    app.callback()(_globals)
    for module in (init, serve, ingest):
        module.register(app)
    app.add_typer(device.app, name="device")
    app.add_typer(clip.app, name="clip")
    app.add_typer(case.app, name="case")
    app.add_typer(log.app, name="log")
    for module in (verify, export, rebuild, doctor, config):
        module.register(app)
    return app


def run(arguments: list[str]) -> int:
    """Run one command line; returns its exit status and never raises."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # a name must never stop a command
    as_json = "--json" in arguments
    try:
        status = typer.main.get_command(build()).main(
            arguments or ["--help"], prog_name="liuhen", standalone_mode=False
        )
        sys.stdout.flush()
    except typer.TyperException as err:
        return tell_words("UsageError", err.format_message(), "liuhen --help", err.exit_code, as_json=as_json)
    except (LiuhenError, HardwareError) as err:
        return tell(err, as_json=as_json)
    except BrokenPipeError:
        status = BROKEN_PIPE
    except KeyboardInterrupt:
        status = INTERRUPTED
    except Exception as err:  # noqa: BLE001 - the outermost loop: whatever it is, people get one line and a report
        return tell_unexpected(err, as_json=as_json)
    if status == BROKEN_PIPE:
        _silence_stdout()
    if status == INTERRUPTED:
        print(words.translator(words.choose())("interrupted"), file=sys.stderr)
    return cast("int", status or 0)


def _silence_stdout() -> None:
    """Point stdout away: the interpreter flushes it once more on the way out."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
