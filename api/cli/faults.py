"""How an error is told: one line and a remedy on stderr, or one JSON object; never a bare stack."""

import json
import os
import sys
import tempfile
import traceback

from api.cli import words
from hardware.errors import HardwareError
from vault.errors import LiuhenError


def tell(err: LiuhenError | HardwareError, *, as_json: bool) -> int:
    """Tell an error of ours; returns its exit status."""
    return tell_words(type(err).__name__, str(err), err.remedy, err.exit_code, as_json=as_json)


def tell_words(kind: str, message: str, remedy: str, exit_code: int, *, as_json: bool) -> int:
    """Tell an error from its parts; returns `exit_code`."""
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


def tell_unexpected(err: Exception, *, as_json: bool) -> int:
    """Keep the trace of what we did not foresee in a file of the user's own, and say in one line where it is."""
    descriptor, name = tempfile.mkstemp(prefix="liuhen-report-", suffix=".txt")
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as report:
        report.write(f"liuhen {' '.join(sys.argv[1:])}\nPython {sys.version}\n\n")
        traceback.print_exception(err, file=report)
    first_line = str(err).splitlines()[0] if str(err) else ""
    if as_json:
        message = f"{type(err).__name__}: {first_line}"
        return tell_words("UnexpectedError", message, f"Send {name} to whoever maintains Liuhen.", 1, as_json=True)
    say = words.translator(words.choose())
    print(say("error.unexpected", kind=type(err).__name__, message=first_line, report=name), file=sys.stderr)
    return 1
