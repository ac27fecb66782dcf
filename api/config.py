"""The settings: what they mean, where each value came from, and one line for each that is wrong.

One file (the data directory's `liuhen.toml`, or the one named with --config or LIUHEN_CONFIG) under `LIUHEN_*` of the
environment. There is no key that weakens an invariant (I9): the keys here choose places, languages and limits only.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from api.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE_NAME = "liuhen.toml"
PREFIX = "LIUHEN_"
DATA_VARIABLE = "LIUHEN_DATA"
CONFIG_VARIABLE = "LIUHEN_CONFIG"
DATA_DEFAULT = Path("liuhen-data")


class Settings(BaseSettings):
    """Every setting; a field's description is its manual."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    host: str = Field("127.0.0.1", min_length=1, description="address the review pages listen on")
    port: int = Field(8470, ge=0, le=65535, description="TCP port of the review pages; 0 lets the system choose")
    language: Literal["auto", "zh", "en"] = Field(
        "auto", description="language of the command line: zh, en, or auto (by LC_ALL, LC_MESSAGES, LANG)"
    )
    sm3: bool = Field(False, description="also seal SM3 digests beside SHA-256 (密评 profile); slower")
    probe_memory_mib: int = Field(
        1024, ge=256, le=65536, description="memory a child process may use to look into one media file, MiB"
    )
    probe_time_s: int = Field(60, ge=5, le=3600, description="time it may take to look into one media file, seconds")
    transcode_memory_mib: int = Field(
        2048, ge=512, le=65536, description="memory a child process may use to make one playable copy, MiB"
    )
    transcode_hours: int = Field(6, ge=1, le=72, description="time it may take to make one playable copy, hours")
    session_idle_minutes: int = Field(
        30, ge=1, le=1440, description="a signed-in browser is signed out after, idle minutes"
    )
    session_hours: int = Field(12, ge=1, le=168, description="a signed-in browser is signed out after, hours in all")
    sign_in_minutes: int = Field(15, ge=1, le=1440, description="a one-time sign-in link is valid for, minutes")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the same
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the same - the same
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the same
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take only what load() hands in: it reads the sources one by one, to know where each value came from."""
        return (init_settings,)


KEYS = tuple(Settings.model_fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingValue:
    """One setting as `liuhen config` shows it."""

    key: str
    value: str | int | bool
    source: str  # "default", "file:<path>" or "environment <NAME>"
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """The settings in force and where they came from."""

    data: Path
    data_source: str
    file: Path | None
    settings: Settings
    sources: Mapping[str, str]  # key -> source, only where it is not the default

    def values(self) -> list[SettingValue]:
        """Return every setting in the order of the manual."""
        return [
            SettingValue(
                key=key,
                value=getattr(self.settings, key),
                source=self.sources.get(key, "default"),
                meaning=field.description or "",
            )
            for key, field in Settings.model_fields.items()
        ]


def load(*, data: Path | None = None, config: Path | None = None) -> Configuration:
    """Read the settings in force; raises ConfigError for what is unknown, malformed or out of range.

    `data` and `config` are the options of the command line and win over the environment.
    """
    directory, data_source = _data_directory(data)
    file = _config_file(directory, config)
    from_file = _read_file(file) if file is not None else {}
    from_environment = _read_environment()
    sources = dict.fromkeys(from_file, f"file:{file}")
    sources |= {key: f"environment {PREFIX}{key.upper()}" for key in from_environment}
    try:
        settings = Settings(**{**from_file, **from_environment})
    except ValidationError as err:
        raise ConfigError(_describe(err, sources)) from err
    return Configuration(data=directory, data_source=data_source, file=file, settings=settings, sources=sources)


def _data_directory(option: Path | None) -> tuple[Path, str]:
    """Return the data directory, absolute: child processes work in other directories."""
    if option is not None:
        return option.absolute(), "option --data"
    if value := os.environ.get(DATA_VARIABLE):
        return Path(value).absolute(), f"environment {DATA_VARIABLE}"
    return DATA_DEFAULT.absolute(), "default"


def _config_file(directory: Path, option: Path | None) -> Path | None:
    """Return the one file to read. A file that was named must exist; the data directory's own may be absent."""
    named = option or (Path(value) if (value := os.environ.get(CONFIG_VARIABLE)) else None)
    if named is not None:
        if not named.is_file():
            raise ConfigError(f"{named}: there is no such configuration file")
        return named
    own = directory / FILE_NAME
    return own if own.is_file() else None


def _read_file(file: Path) -> dict[str, Any]:
    try:
        values = TomlConfigSettingsSource(Settings, file)()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as err:
        raise ConfigError(f"{file}: not readable as TOML: {err}") from err
    for key in values:
        if key not in KEYS:
            raise ConfigError(f'{file}: unknown key "{key}"{_nearest(key, KEYS)}')
    return values


def _read_environment() -> dict[str, Any]:
    known = {DATA_VARIABLE, CONFIG_VARIABLE, *(PREFIX + key.upper() for key in KEYS)}
    for name in os.environ:
        if name.startswith(PREFIX) and name not in known:
            raise ConfigError(f"environment: unknown variable {name}{_nearest(name, tuple(known))}")
    return EnvSettingsSource(Settings)()


def _nearest(word: str, known: tuple[str, ...]) -> str:
    match = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {match[0]}?" if match else ""


def _describe(err: ValidationError, sources: Mapping[str, str]) -> str:
    """Say the first fault in one line: where, which key, what is wrong with which value."""
    fault = err.errors(include_url=False)[0]
    key = str(fault["loc"][0]) if fault["loc"] else ""
    where = sources.get(key, "default").removeprefix("file:")
    return f"{where}: {key} = {fault['input']!r}: {fault['msg']}"
