"""Who gets in, how, and for how long."""

from __future__ import annotations

import re
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

from web import Clock, client, entries, open_view, seal, sign_in, signed_in

from api.web.sessions import Limits, Sessions, create_sign_in_link, utc_now

if TYPE_CHECKING:
    import pytest

    from vault.vault import Vault


def test_a_link_signs_in_once(vault: Vault) -> None:
    browser = client(vault)
    link = create_sign_in_link(vault, "http://127.0.0.1:8470/", "wang", "auditor", 60)
    assert link.startswith("http://127.0.0.1:8470/sign-in?token=")
    first = browser.get(link)
    assert first.status_code == 303
    assert first.headers["location"] == "/clips"
    cookie = first.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" not in cookie  # plain HTTP on loopback
    again = client(vault).get(link, headers={"Accept": "text/html"})
    assert again.status_code == 403
    assert "liuhen sign-in" in again.text
    assert "set-cookie" not in again.headers


def test_the_cookie_is_secure_over_https(vault: Vault) -> None:
    browser = client(vault)
    browser.base_url = "https://127.0.0.1:8470"
    token = browser.app.state.desk.sessions.create_link("wang", "auditor", timedelta(minutes=1))
    assert "Secure" in browser.get(f"/sign-in?token={token}").headers["set-cookie"]


def test_an_expired_or_invented_link_is_refused_with_the_remedy(vault: Vault) -> None:
    clock = Clock()
    browser = client(vault, clock)
    token = browser.app.state.desk.sessions.create_link("wang", "auditor", timedelta(minutes=15))
    clock.advance(minutes=15)
    for bad in (token, token[:-1], "x", "%00"):
        page = browser.get(f"/sign-in?token={bad}", headers={"Accept": "text/html"})
        assert page.status_code == 403
        assert "liuhen sign-in" in page.text


def test_a_prefetching_browser_does_not_use_the_link_up(vault: Vault) -> None:
    link = create_sign_in_link(vault, "http://127.0.0.1:8470", "wang", "auditor", 60)
    browser = client(vault)
    assert browser.get(link, headers={"Sec-Purpose": "prefetch;prerender"}).status_code == 503
    assert browser.get(link).status_code == 303


def test_two_racing_uses_of_a_link_give_one_session(vault: Vault) -> None:
    sessions = Sessions(vault.catalogue, Limits(), utc_now)
    token = sessions.create_link("wang", "auditor", timedelta(minutes=1))
    found = []
    gate = threading.Barrier(8)

    def use() -> None:
        gate.wait()
        found.append(sessions.consume_link(token))

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(result is not None for result in found) == 1


def test_the_database_holds_no_secret(vault: Vault) -> None:
    """Only digests are stored: whoever reads catalogue.db cannot sign in with it."""
    browser = client(vault)
    token = browser.app.state.desk.sessions.create_link("wang", "auditor", timedelta(minutes=1))
    browser.get(f"/sign-in?token={token}")
    secret = browser.cookies["liuhen_session"]
    assert len(secret) >= 43
    stored = b"".join(path.read_bytes() for path in vault.root.glob("catalogue.db*"))
    assert token.encode() not in stored
    assert secret.encode() not in stored


def test_a_session_ends_when_idle_and_after_its_whole_time(vault: Vault) -> None:
    clock = Clock()
    browser = signed_in(vault, clock, session_idle_minutes=30, session_hours=2)
    for _ in range(3):
        clock.advance(minutes=29)
        assert browser.get("/clips").status_code == 200
    clock.advance(minutes=31)
    assert browser.get("/clips").status_code == 401
    sign_in(browser)
    for _ in range(4):
        clock.advance(minutes=29)
        assert browser.get("/clips").status_code == 200
    clock.advance(minutes=5)
    assert browser.get("/clips").status_code == 401


def test_signing_out_ends_the_session_and_its_views(vault: Vault) -> None:
    """I6: a view is worth nothing without the session that opened it."""
    clip = seal(vault, b"\xff\xd8pixels\xff\xd9", "p.jpg", media="image", facts={"container": "jpeg"})
    browser = signed_in(vault)
    view = open_view(browser, clip)
    kept = browser.cookies["liuhen_session"]
    assert browser.get(view["status_url"]).status_code == 200
    assert browser.post("/sign-out").headers["location"] == "/sign-in"
    browser.cookies.set("liuhen_session", kept)
    for path in ("/clips", view["status_url"], f"/views/{view['view']}/picture"):
        assert browser.get(path).status_code == 401


def test_who_signs_in_becomes_a_person_of_the_log_once(vault: Vault) -> None:
    signed_in(vault, account="wang")
    signed_in(vault, account="wang")
    signed_in(vault, account="li")
    assert [e.statement.type for e in entries(vault)].count("person.registered") == 2


def test_a_link_from_elsewhere_reaches_its_page_despite_the_strict_cookie(vault: Vault) -> None:
    """A browser leaves a SameSite=Strict cookie out of a navigation that another site began; one knock more brings it."""
    browser = client(vault)
    page = browser.get("/clips?text=a", headers={"Sec-Fetch-Site": "cross-site", "Accept": "text/html"})
    assert page.status_code == 200
    assert 'content="0;url=/clips?text=a"' in page.text
    then = browser.get("/clips?text=a", headers={"Sec-Fetch-Site": "same-origin", "Accept": "text/html"})
    assert then.status_code == 401
    assert "liuhen sign-in" in then.text


def test_forms_return_only_to_our_own_pages(vault: Vault) -> None:
    """Attack: open redirect."""
    browser = signed_in(vault)
    for back in ("https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/a\nb", ""):
        answer = browser.post("/language", data={"language": "en", "back": back})
        assert answer.status_code == 303
        assert re.fullmatch(r"/clips|/", answer.headers["location"]), back
    assert (
        browser.post("/language", data={"language": "en", "back": "/log?before=3"}).headers["location"]
        == "/log?before=3"
    )


def test_reading_goes_on_when_the_use_of_a_session_cannot_be_noted(
    vault: Vault, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk must not hide what is there; the idle limit then runs on."""
    clock = Clock()
    browser = signed_in(vault, clock)
    clock.advance(minutes=2)
    with vault.catalogue.engine.connect() as connection:  # the pool hands out this same connection
        connection.exec_driver_sql("PRAGMA query_only=ON")
    assert browser.get("/cases").status_code == 200
    assert "session_not_touched" in caplog.text
