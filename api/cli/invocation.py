"""One invocation of `liuhen`: its settings, its words, and how results are shown.

`@command` adds the options that every command has (--data, --config, --json) and hands the body an `Invocation`, so
that a command module holds only what is its own. The same options may stand before the command's name.
"""

import functools
import inspect
import json
import os
import pwd
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from api.cli import words
from api.config import CONFIG_VARIABLE, DATA_VARIABLE, Configuration, Settings, load
from api.errors import BROKEN_PIPE, OutputError, OutputExistsError, UsageError
from api.health import require_local
from api.web.i18n import Translator
from hardware.recorder import printable
from vault.model import Actor
from vault.vault import Vault

WIDE = 120  # columns of a terminal from which tables show everything
FOLDING = frozenset({"name", "label", "title", "target", "detail", "meaning", "source"})
PANEL = "Options of every command"
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help=f"Data directory of the vault (env {DATA_VARIABLE}; default ./liuhen-data).",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help=f"Configuration file instead of DIR/liuhen.toml (env {CONFIG_VARIABLE}).",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="One JSON document, or one object per line.", rich_help_panel=PANEL)
]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonOptions:
    """The options of every command, as far as they were given."""

    data: Path | None = None
    config: Path | None = None
    json: bool = False

    def under(self, later: "CommonOptions") -> "CommonOptions":
        """Return these options with those given after the command's name laid over them."""
        return CommonOptions(
            data=later.data or self.data, config=later.config or self.config, json=later.json or self.json
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """What a command's body works with."""

    configuration: Configuration
    json: bool
    say: Translator
    out: Console  # results
    err: Console  # progress and errors

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.configuration.settings

    @contextmanager
    def vault(self) -> Iterator[Vault]:
        """Open the vault of this invocation; refuses one on a network file system."""
        require_local(self.configuration.data)
        with Vault.open(self.configuration.data) as vault:
            yield vault

    def actor(self, vault: Vault) -> Actor:
        """Return the person behind the account of the operating system that runs this command."""
        return vault.actor(account=system_account(), role="custodian")

    # --- showing ---------------------------------------------------------------------------------------------------

    def document(self, value: Mapping[str, object]) -> None:
        """Write one JSON object on one line. Characters the terminal cannot take are escaped."""
        plain = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
        sys.stdout.write(json.dumps(value, ensure_ascii=plain) + "\n")
        sys.stdout.flush()

    def line(self, text: str) -> None:
        """Write one line for people, at once: they may read it through a pipe while the command goes on."""
        print(text, flush=True)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]], *, wide: Collection[str] = ()) -> None:
        """Show rows: a table on a terminal, tab-separated lines otherwise. `columns` are keys of words.

        On a narrow terminal the `wide` columns are left out; long text folds, everything else stays on one line.
        Every cell is made printable: text from devices and forms must trick neither a terminal nor a script.
        """
        if not self.out.is_terminal:
            for row in rows:
                self.line("\t".join(map(printable, row)))
            return
        shown = [n for n, column in enumerate(columns) if column not in wide or self.out.width >= WIDE]
        table = Table(box=None, pad_edge=False, header_style="bold")
        for number in shown:
            folds = columns[number] in FOLDING
            table.add_column(self.say(f"column.{columns[number]}"), overflow="fold", no_wrap=not folds)
        for row in rows:
            table.add_row(*(Text(printable(row[number])) for number in shown))
        self.out.print(table)

    def pairs(self, rows: Iterable[tuple[str, str]]) -> None:
        """Show named values one below the other, made printable."""
        shown = [(self.say.known(f"column.{key}", key), printable(value)) for key, value in rows]
        width = max((Text(key).cell_len for key, _ in shown), default=0)
        for key, value in shown:
            self.line(key + " " * (width - Text(key).cell_len + 2) + value)


def system_account() -> str:
    """Name the account this process runs as: from its user id, because variables like USER are anybody's claim."""
    uid = os.getuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid-{uid}"


@contextmanager
def output_file(path: Path, *, force: bool) -> Iterator[IO[bytes]]:
    """Open a file to write for the caller. It appears under its name only when it is complete.

    Raises OutputExistsError for a file that is there already unless `force`, OutputError for what the disk refuses.
    """
    if path.exists() and not force:
        raise OutputExistsError(f"{path} exists")
    half = path.with_name(f".{path.name}.{os.getpid()}.half")
    try:
        with half.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        half.replace(path)
    except OSError as err:
        raise OutputError(f"{path}: {err.strerror or err}") from err
    finally:
        half.unlink(missing_ok=True)


# --- the decorator -------------------------------------------------------------------------------------------------


def start(options: CommonOptions) -> Invocation:
    """Read the settings and prepare the output of one invocation."""
    configuration = load(data=options.data, config=options.config)
    return Invocation(
        configuration=configuration,
        json=options.json,
        say=words.translator(words.choose(configuration.settings.language)),
        out=Console(highlight=False),
        err=Console(stderr=True, highlight=False),
    )


Body = Callable[..., int | None]


def command(group: typer.Typer, name: str) -> Callable[[Body], Body]:
    """Register a command: its body takes an Invocation and its own options, and returns an exit status or None."""

    def register(body: Body) -> Body:
        group.command(name)(_with_common_options(body))
        return body

    return register


def _with_common_options(body: Body) -> Callable[..., int | None]:
    """Return the function that typer sees: the body's own parameters, then the common ones."""
    signature = inspect.signature(body)
    own = list(signature.parameters.values())[1:]

    @functools.wraps(body)
    def run(*, context: typer.Context, data: Path | None, config: Path | None, json: bool, **own: Any) -> int | None:
        given = CommonOptions(data=data, config=config, json=json)
        before = context.find_root().obj or CommonOptions()
        _require_text(own)
        try:
            return body(start(before.under(given)), **own)
        except BrokenPipeError:
            return BROKEN_PIPE

    keyword = inspect.Parameter.KEYWORD_ONLY
    common = [
        inspect.Parameter("data", keyword, default=None, annotation=DataOption),
        inspect.Parameter("config", keyword, default=None, annotation=ConfigOption),
        inspect.Parameter("json", keyword, default=False, annotation=JsonOption),
    ]
    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    parameters = [parameter.replace(kind=keyword) for parameter in own] + common + [context]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined] # inspect reads it
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    del run.__wrapped__
    return run


def _require_text(given: Mapping[str, object]) -> None:
    """Raise UsageError for words that are not UTF-8: neither the log nor the catalogue can hold them. Paths may be."""
    for name, value in given.items():
        for word in value if isinstance(value, list) else [value]:
            if isinstance(word, str) and any("\ud800" <= character <= "\udfff" for character in word):
                raise UsageError(f"{name}: {printable(word)!r} is not UTF-8 text")


def with_settings(invocation: Invocation, **settings: object) -> Invocation:
    """Return the invocation with settings replaced by options of the command."""
    given = {key: value for key, value in settings.items() if value is not None}
    if not given:
        return invocation
    old = invocation.configuration
    new = Settings(**{**old.settings.model_dump(), **given})
    sources = {**old.sources, **{key: f"option --{key}" for key in given}}
    return replace(invocation, configuration=replace(old, settings=new, sources=sources))
