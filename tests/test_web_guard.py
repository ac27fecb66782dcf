"""What every request and every answer must satisfy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from web import BASE, client, seal, signed_in

from api.web.app import ROUTERS
from api.web.http import BODY_BYTES_MAX, host_allowed, same_origin

if TYPE_CHECKING:
    from vault.vault import Vault

OPEN_TO_ALL = {"/favicon.ico", "/healthz", "/readyz", "/sign-in", "/language"}


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1:8470", True),
        ("localhost:8470", True),
        ("LOCALHOST", True),
        ("[::1]:8470", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("10.0.0.7:8470", False),
        ("", False),
        ("[::1", False),
    ],
)
def test_a_name_rebound_to_loopback_gets_no_answer(host: str, *, allowed: bool) -> None:
    """Attack: DNS rebinding. A page elsewhere points its own name at 127.0.0.1."""
    assert host_allowed(host, {"localhost", "127.0.0.1"}) is allowed


def test_any_address_is_ours_when_we_listen_everywhere_but_no_foreign_name() -> None:
    assert host_allowed("10.0.0.7:8470", {"localhost", "*"})
    assert not host_allowed("evil.example", {"localhost", "*"})


def test_rebinding_is_refused_before_any_page(vault: Vault) -> None:
    answer = signed_in(vault).get("/clips", headers={"Host": "evil.example"})
    assert answer.status_code == 421
    assert answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("headers", "ours"),
    [
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"sec-fetch-site": "cross-site", "origin": "http://127.0.0.1:8470"}, False),
        ({"origin": "http://127.0.0.1:8470"}, True),
        ({"origin": "http://127.0.0.1:8471"}, False),
        ({"origin": "https://127.0.0.1:8470"}, False),
        ({"origin": "null"}, False),
        ({}, False),
    ],
)
def test_only_our_own_pages_may_change_anything(headers: dict[str, str], *, ours: bool) -> None:
    """Attack: CSRF, by browsers with Fetch Metadata and by those without."""
    assert same_origin(Headers({"host": "127.0.0.1:8470", **headers}), "http") is ours


def test_a_forged_form_opens_no_view_and_no_case(vault: Vault) -> None:
    clip = seal(vault, b"x")
    browser = signed_in(vault)
    before = vault.reader.checkpoint().size
    for path in ("/cases", f"/clips/{clip.hex}/views", "/purpose", "/sign-out", "/language"):
        assert browser.post(path, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert vault.reader.checkpoint().size == before
    assert browser.get("/clips").status_code == 200


def test_every_route_but_the_few_needs_a_session(vault: Vault) -> None:
    """I6: nothing that shows evidence answers to nobody."""
    browser = client(vault)
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    assert len(routes) > 20
    for route in routes:
        path = route.path.replace("{clip}", "ab" * 32).replace("{view}", "v").replace("{index}", "0")
        path = path.replace("{case_id}", "c")
        for method in route.methods:
            answer = browser.request(method, path)
            if route.path in OPEN_TO_ALL:
                assert answer.status_code != 401, path
            else:
                assert answer.status_code == 401, f"{method} {path}"


def test_every_answer_carries_the_security_headers(vault: Vault) -> None:
    browser = signed_in(vault)
    version = browser.app.state.desk.static_version
    for path in (
        "/clips",
        "/cases",
        "/log",
        "/about",
        "/nothing",
        "/healthz",
        f"/static/{version}/page.js",
        "/log/vkey",
    ):
        headers = browser.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cache-control"] == ("no-store" if not path.startswith("/static") else headers["cache-control"])


def test_pages_hold_no_inline_script_or_style_and_name_no_other_host(vault: Vault) -> None:
    clip = seal(vault, b"x")
    browser = signed_in(vault)
    for path in ("/clips", f"/clips/{clip.hex}", "/cases", "/log", "/about", "/sign-in"):
        html = browser.get(path, headers={"Accept": "text/html"}).text
        assert " style=" not in html
        assert "<style" not in html
        assert "onclick" not in html
        assert "<script>" not in html
        assert "http://" not in html.replace(BASE, "")
        assert "https://" not in html


def test_a_large_body_is_refused(vault: Vault) -> None:
    browser = signed_in(vault)
    assert browser.post("/purpose", content=b"x" * (BODY_BYTES_MAX + 1)).status_code == 413


def test_errors_are_pages_for_people_and_problem_details_for_programs(vault: Vault) -> None:
    browser = signed_in(vault)
    problem = browser.get("/clips/abcdef99")
    assert problem.status_code == 404
    assert problem.headers["content-type"] == "application/problem+json"
    document = problem.json()
    assert document["code"] == "NotFoundError"
    assert document["remedy"]
    assert document["status"] == 404
    for language, words in (("zh-CN", "如何处理"), ("en", "What to do")):
        page = browser.get("/clips/abcdef99", headers={"Accept": "text/html", "Accept-Language": language})
        assert page.status_code == 404
        assert words in page.text
        assert f'lang="{language}"' in page.text


def test_malformed_requests_are_named_without_a_stack(vault: Vault) -> None:
    browser = signed_in(vault)
    for answer in (browser.post("/cases", data={}), browser.get("/clips?page=0"), browser.get("/log?before=x")):
        assert answer.status_code == 422
        assert answer.json()["code"] == "FormError"
        assert "Traceback" not in answer.text


def test_a_bug_shows_no_stack_and_keeps_the_headers(vault: Vault) -> None:
    browser = signed_in(vault)
    browser._transport.raise_server_exceptions = False

    def broken() -> None:
        raise RuntimeError("secret detail")

    browser.app.add_api_route("/broken", broken)
    answer = browser.get("/broken")
    assert answer.status_code == 500
    assert "secret detail" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_health_addresses_tell_no_details(vault: Vault) -> None:
    browser = client(vault)
    assert browser.get("/healthz").json() == {"status": "ok"}
    ready = browser.get("/readyz")
    assert ready.status_code == 200
    assert ready.json() == {"status": "ready", "catalogue": True, "checkpoint": True, "disk": True}
    (vault.root / "log" / "checkpoint").rename(vault.root / "log" / "gone")
    assert browser.get("/readyz").status_code == 503


def test_no_generated_api_page_that_would_load_from_elsewhere(vault: Vault) -> None:
    browser = signed_in(vault)
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert browser.get(path).status_code == 404
