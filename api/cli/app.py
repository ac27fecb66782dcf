"""The command tree and the one boundary where errors become words and exit statuses."""

import json
import os
import sys
import tempfile
import traceback
from pathlib import Path
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
        return _report(as_json, "UsageError", err.format_message(), "liuhen --help", err.exit_code)
    except (LiuhenError, HardwareError) as err:
        return _report(as_json, type(err).__name__, str(err), err.remedy, err.exit_code)
    except BrokenPipeError:
        status = BROKEN_PIPE
    except KeyboardInterrupt:
        status = INTERRUPTED
    except Exception as err:  # noqa: BLE001 - the outermost loop: whatever it is, people get one line and a report
        return _report_unexpected(as_json, err)
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


def _report(as_json: bool, kind: str, message: str, remedy: str, exit_code: int) -> int:
    """Say on stderr what went wrong and what to do, in one line each or as one JSON object."""
    if as_json:
        error = {"type": kind, "message": message, "remedy": remedy, "exit_code": exit_code}
        print(json.dumps({"error": error}, ensure_ascii=False), file=sys.stderr)
        return exit_code
    say = words.translator(words.choose())
    title, local_remedy = words.ERRORS_ZH.get(kind, ("", "")) if say.language == "zh-CN" else ("", "")
    print(say("error", message=message, title=title or kind), file=sys.stderr)
    if shown := local_remedy or remedy:
        print(say("remedy", remedy=shown), file=sys.stderr)
    return exit_code


def _report_unexpected(as_json: bool, err: Exception) -> int:
    """Keep the trace in a file, say in one line where it is."""
    descriptor, name = tempfile.mkstemp(prefix="liuhen-report-", suffix=".txt")
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as report:
        report.write(f"liuhen {' '.join(sys.argv[1:])}\nPython {sys.version}\n\n")
        traceback.print_exception(err, file=report)
    first_line = str(err).splitlines()[0] if str(err) else ""
    if as_json:
        message = f"{type(err).__name__}: {first_line}"
        return _report(as_json, "UnexpectedError", message, f"Send {Path(name)} to whoever maintains Liuhen.", 1)
    say = words.translator(words.choose())
    print(say("error.unexpected", kind=type(err).__name__, message=first_line, report=name), file=sys.stderr)
    return 1
