"""Settings: what is read from where, which wins, and how wrong ones are refused."""

from __future__ import annotations

import pytest

from api.config import KEYS, Settings, load
from api.errors import ConfigError


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def sources(configuration):
    return {item.key: (item.value, item.source) for item in configuration.values()}


def test_without_anything_every_value_is_the_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    configuration = load()
    assert configuration.data == tmp_path / "liuhen-data"
    assert configuration.data_source == "default"
    assert {source for _, source in sources(configuration).values()} == {"default"}


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(tmp_path, monkeypatch):
    file = write(tmp_path / "liuhen.toml", "port = 9001\nsession_hours = 8\n")
    monkeypatch.setenv("LIUHEN_PORT", "9002")
    shown = sources(load(data=tmp_path))
    assert shown["port"] == (9002, "environment LIUHEN_PORT")
    assert shown["session_hours"] == (8, f"file:{file}")
    assert shown["host"] == ("127.0.0.1", "default")


def test_a_named_file_replaces_the_one_of_the_data_directory(tmp_path, monkeypatch):
    write(tmp_path / "liuhen.toml", "port = 9001\n")
    other = write(tmp_path / "etc" / "other.toml", "session_hours = 8\n")
    monkeypatch.setenv("LIUHEN_CONFIG", str(other))
    shown = sources(load(data=tmp_path))
    assert shown["port"] == (8470, "default")
    assert shown["session_hours"] == (8, f"file:{other}")


def test_the_option_wins_over_the_variable_for_the_data_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("LIUHEN_DATA", str(tmp_path / "a"))
    assert load().data_source == "environment LIUHEN_DATA"
    assert load(data=tmp_path / "b").data == tmp_path / "b"


def test_an_unknown_key_is_refused_with_file_and_nearest_key(tmp_path):
    file = write(tmp_path / "liuhen.toml", "prot = 1\n")
    with pytest.raises(ConfigError, match=rf'{file}: unknown key "prot"; did you mean port\?'):
        load(data=tmp_path)


def test_an_unknown_variable_is_refused_with_its_nearest_name(monkeypatch):
    monkeypatch.setenv("LIUHEN_PROT", "1")
    with pytest.raises(ConfigError, match=r"unknown variable LIUHEN_PROT; did you mean LIUHEN_PORT\?"):
        load()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("port = 70000\n", "port = 70000"),
        ('port = "no"\n', "port = 'no'"),
        ('language = "fr"\n', "language = 'fr'"),
        ("[sub]\nport = 1\n", 'unknown key "sub"'),
        ("port 1\n", "not readable as TOML"),
        ("port = 1\nport = 2\n", "not readable as TOML"),
    ],
)
def test_a_wrong_value_is_refused_in_one_line_with_its_place(tmp_path, text, said):
    file = write(tmp_path / "liuhen.toml", text)
    with pytest.raises(ConfigError) as refused:
        load(data=tmp_path)
    assert said in str(refused.value)
    assert str(file) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_wrong_value_of_the_environment_names_the_variable(monkeypatch):
    monkeypatch.setenv("LIUHEN_SM3", "maybe")
    with pytest.raises(ConfigError, match="environment LIUHEN_SM3: sm3 = 'maybe'"):
        load()


def test_a_named_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no such configuration file"):
        load(config=tmp_path / "none.toml")


def test_a_file_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "liuhen.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not readable as TOML"):
        load(data=tmp_path)


def test_no_setting_can_weaken_an_invariant():
    """I9: the keys choose places, languages and limits; none switches a check, a sync or the log off."""
    for key in KEYS:
        forbidden = (
            "sync",
            "fsync",
            "verify",
            "check",
            "unsafe",
            "insecure",
            "skip",
            "log",
            "sign",
            "disable",
            "reread",
        )
        words = key.removeprefix("sign_in").split("_")
        assert not set(words) & set(forbidden), key
    booleans = {key for key, field in Settings.model_fields.items() if field.annotation is bool}
    assert booleans == {"sm3"}


def test_every_setting_says_what_it_means():
    for field in Settings.model_fields.values():
        assert field.description


def test_settings_cannot_be_changed_once_read():
    with pytest.raises(ValueError, match="frozen"):
        load().settings.port = 1
