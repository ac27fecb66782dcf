"""Log entries in words: what each type of the vocabulary says to a person. Pure.

An expunged field shows as removed; a type we have no words for shows as itself, so the log page never fails on a log
that is older or newer than this software.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from api import present
from api.web.purposes import in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from api.web.i18n import Translator
    from vault.entry import LogEntry

_WORDED = ("media", "condition", "outcome")  # fields whose values have words of their own
_COUNTED = ("files", "sealed", "duplicate", "damaged", "failed")


def describe(entry: LogEntry, private: Mapping[str, object], t: Translator, case_number: Callable[[str], str]) -> str:
    """Say what an entry means, in one line."""
    statement = entry.statement
    key = f"entry.{statement.type}"
    if private.get("reason") == "":
        key += "_plain"  # a reason that was left out, not one that was expunged
    template = t.known(key, t.known(f"entry.{statement.type}", "{type}"))
    values: defaultdict[str, str] = defaultdict(lambda: t("app.removed"))
    values["type"] = statement.type
    for name, value in {**statement.fields, **private}.items():
        values[name] = _value(name, value, t)
    if "bytes" in statement.fields:
        values["size"] = present.size(int(statement.fields["bytes"]))
    if "case" in statement.fields:
        values["case"] = present.printable(case_number(str(statement.fields["case"])))
    return template.format_map(values)


def _value(name: str, value: object, t: Translator) -> str:
    if name in _WORDED:
        return t.known(f"{name}.{value}", present.printable(value))
    if name == "purpose":
        return present.printable(in_words(str(value), t))
    if name in _COUNTED and isinstance(value, int):
        return f"{value:,}"
    return present.printable(value)
