"""I8: what no longer matches its seal is not served; the connection breaks, the page is told, the log keeps it."""

from __future__ import annotations

import http.client
import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from web import OURS, entries, open_view, seal, serving, signed_in, types

from vault.model import CHUNK_BYTES

if TYPE_CHECKING:
    from vault.model import Digest
    from vault.vault import Vault


def flip(vault: Vault, clip: Digest, at: int) -> None:
    path = vault.objects.path(clip)
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


def incidents(vault: Vault) -> list[dict[str, object]]:
    found = [entry for entry in entries(vault) if entry.statement.type == "incident.detected"]
    return [vault.records.disclosed(entry) for entry in found]


def test_a_flipped_bit_in_the_first_piece_is_an_error_page_and_an_incident(vault: Vault) -> None:
    clip = seal(vault, os.urandom(5000), "a.bin")
    browser = signed_in(vault)
    view = open_view(browser, clip)
    place = browser.post(view["export_url"]).headers["location"]
    flip(vault, clip, 100)
    answer = browser.get(place)
    assert answer.status_code == 500
    assert answer.json()["code"] == "FixityMismatchError"
    assert answer.json()["exit_code"] == 21
    assert "verify" in answer.json()["remedy"]
    assert clip.hex in browser.get(view["status_url"]).json()["fault"]
    assert [incident["clip"] for incident in incidents(vault)] == [str(clip)]
    browser.get(place)
    assert types(vault).count("incident.detected") == 1  # once, however often a player asks


def test_a_flipped_bit_further_on_breaks_the_connection(vault: Vault) -> None:
    """The answer must not look complete: fewer bytes than promised, and none of the bad chunk."""
    data = os.urandom(3 * CHUNK_BYTES)
    clip = seal(vault, data, "a.bin")
    with serving(vault) as link:
        host = urlsplit(link).netloc
        connection = http.client.HTTPConnection(host, timeout=120)
        connection.request("GET", link.removeprefix(f"http://{host}"))
        signed = connection.getresponse()
        signed.read()
        cookie = {"Cookie": signed.headers["set-cookie"].partition(";")[0], **OURS}
        connection.request("POST", f"/clips/{clip.hex}/views", headers=cookie)
        import json

        view = json.loads(connection.getresponse().read())
        connection.request("POST", view["export_url"], headers=cookie)
        place = connection.getresponse()
        place.read()
        flip(vault, clip, CHUNK_BYTES + 17)
        connection.request("GET", place.headers["location"], headers=cookie)
        answer = connection.getresponse()
        assert answer.status == 200
        with pytest.raises(http.client.IncompleteRead) as broken:
            answer.read()
        assert broken.value.partial == data[:CHUNK_BYTES]
        again = http.client.HTTPConnection(host, timeout=120)
        again.request("GET", view["status_url"], headers=cookie)
        assert clip.hex in json.loads(again.getresponse().read())["fault"]
        again.close()
        connection.close()
    assert len(incidents(vault)) == 1


def test_a_missing_original_is_told_and_not_invented(vault: Vault) -> None:
    clip = seal(vault, b"here", "a.bin")
    browser = signed_in(vault)
    view = open_view(browser, clip)
    place = browser.post(view["export_url"]).headers["location"]
    vault.objects.path(clip).unlink()
    answer = browser.get(place)
    assert answer.status_code == 500
    assert answer.json()["code"] == "ObjectMissingError"
