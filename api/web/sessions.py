"""Who is signed in, and what they have opened: one-time links, sessions and viewing grants as rows.

Of every secret only the SHA-256 is stored, so the database gives nobody a way in. The rows live in catalogue.db beside
the projections but are none: they hold nothing that the log would need, and losing them only signs people out. Every
check fails closed, with no clock but the `now` handed in.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast, get_args

from sqlalchemy import Column, Integer, LargeBinary, MetaData, String, Table, insert, select, update

from api.web.purposes import PURPOSES
from vault.errors import StorageError
from vault.model import Actor, Digest, PersonId, Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import RowMapping

    from vault.catalogue.search import Catalogue
    from vault.vault import Vault

TOKEN_BYTES = 32  # 256 bit from the system's generator
TOUCH_EVERY = timedelta(seconds=30)  # a session's last use is written at most this often


_log = logging.getLogger(__name__)
_tables = MetaData()
_link = Table(
    "web_sign_in_link",
    _tables,
    Column("token_sha256", LargeBinary, primary_key=True),
    Column("account", String, nullable=False),
    Column("role", String, nullable=False),
    Column("expires_ms", Integer, nullable=False),
    Column("used_ms", Integer),
)
_session = Table(
    "web_session",
    _tables,
    Column("token_sha256", LargeBinary, primary_key=True),
    Column("account", String, nullable=False),
    Column("actor_id", String, nullable=False),
    Column("actor_name", String, nullable=False),
    Column("role", String, nullable=False),
    Column("purpose", String, nullable=False),
    Column("opened_ms", Integer, nullable=False),
    Column("seen_ms", Integer, nullable=False),
    Column("ended_ms", Integer),
)
_grant = Table(
    "web_view_grant",
    _tables,
    Column("view", String, primary_key=True),
    Column("session_sha256", LargeBinary, nullable=False, index=True),
    Column("clip", String, nullable=False),
    Column("purpose", String, nullable=False),
    Column("entry_index", Integer, nullable=False),
    Column("opened_ms", Integer, nullable=False),
    Column("export_index", Integer),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long things stay valid."""

    idle: timedelta = timedelta(minutes=30)
    absolute: timedelta = timedelta(hours=12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A signed-in browser."""

    key: bytes  # SHA-256 of the cookie's secret
    account: str
    actor: Actor
    purpose: str
    seen_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One logged opening of a clip (I6): only under it are the clip's bytes served, and only to its session."""

    view: str
    clip: Digest
    purpose: str
    entry_index: int
    opened_at: datetime
    export_index: int | None  # log index of the clip.exported entry, once the original was asked for


class Sessions:
    """The three tables; safe to use from several threads and processes."""

    def __init__(self, catalogue: Catalogue, limits: Limits, now: Callable[[], datetime]) -> None:
        self._catalogue = catalogue
        self.limits = limits
        self.now = now
        self.refused_views = 0  # asked for under an unknown, foreign or expired view, since this process began
        with catalogue.writing() as connection:
            _tables.create_all(connection)

    # --- sign-in links --------------------------------------------------------------------------------------------

    def create_link(self, account: str, role: Role, valid: timedelta) -> str:
        """Make a one-time token for an account; only its digest is kept."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        row = {
            "token_sha256": digest(token),
            "account": account,
            "role": role,
            "expires_ms": _ms(self.now() + valid),
        }
        with self._catalogue.writing() as connection:
            connection.execute(insert(_link).values(row))
        return token

    def consume_link(self, token: str) -> tuple[str, Role] | None:
        """Use up a token; None when it is unknown, expired or used. Two racing uses: one wins (one UPDATE decides)."""
        now = _ms(self.now())
        mine = (_link.c.token_sha256 == digest(token), _link.c.used_ms.is_(None), _link.c.expires_ms > now)
        with self._catalogue.writing() as connection:
            if connection.execute(update(_link).where(*mine).values(used_ms=now)).rowcount != 1:
                return None
            row = connection.execute(select(_link).where(_link.c.token_sha256 == digest(token))).mappings().one()
        return row["account"], _role(row["role"])

    # --- sessions -------------------------------------------------------------------------------------------------

    def open(self, account: str, actor: Actor) -> str:
        """Open a session; returns the secret for the cookie."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        now = _ms(self.now())
        with self._catalogue.writing() as connection:
            connection.execute(
                insert(_session).values(
                    token_sha256=digest(token),
                    account=account,
                    actor_id=actor.id,
                    actor_name=actor.name,
                    role=actor.role,
                    purpose=PURPOSES["routine"],
                    opened_ms=now,
                    seen_ms=now,
                )
            )
        return token

    def find(self, token: str) -> Session | None:
        """Return the live session of a cookie and note its use; None when there is none, or it ran out."""
        now = self.now()
        alive = (
            _session.c.token_sha256 == digest(token),
            _session.c.ended_ms.is_(None),
            _session.c.seen_ms > _ms(now - self.limits.idle),
            _session.c.opened_ms > _ms(now - self.limits.absolute),
        )
        with self._catalogue.engine.connect() as connection:
            row = connection.execute(select(_session).where(*alive)).mappings().one_or_none()
        if row is None:
            return None
        session = _to_session(row)
        if now - session.seen_at >= TOUCH_EVERY:
            self._touch(session, now)
        return session

    def set_purpose(self, session: Session, purpose: str) -> Session:
        """Say why the person is looking from now on; views opened before keep the purpose they were opened for."""
        with self._catalogue.writing() as connection:
            connection.execute(update(_session).where(_session.c.token_sha256 == session.key).values(purpose=purpose))
        return replace(session, purpose=purpose)

    def end(self, session: Session) -> None:
        """Sign out: the session and every view opened in it are over."""
        with self._catalogue.writing() as connection:
            connection.execute(
                update(_session).where(_session.c.token_sha256 == session.key).values(ended_ms=_ms(self.now()))
            )

    def _touch(self, session: Session, now: datetime) -> None:
        """Note the use. A full or read-only disk must not stop the reading of pages: the idle limit then runs on."""
        mine = _session.c.token_sha256 == session.key
        try:
            with self._catalogue.writing() as connection:
                connection.execute(update(_session).where(mine).values(seen_ms=_ms(now)))
        except StorageError as err:
            _log.warning("session_not_touched reason=%s", err)

    # --- views ----------------------------------------------------------------------------------------------------

    def grant(self, session: Session, *, view: str, clip: Digest, purpose: str, entry_index: int) -> None:
        """Let this session read this clip. Called only after the clip.viewed entry is durable (I6)."""
        with self._catalogue.writing() as connection:
            connection.execute(
                insert(_grant).values(
                    view=view,
                    session_sha256=session.key,
                    clip=str(clip),
                    purpose=purpose,
                    entry_index=entry_index,
                    opened_ms=_ms(self.now()),
                )
            )

    def find_grant(self, session: Session, view: str) -> Grant | None:
        """Return the view if it belongs to this session and is not too old; None alike for foreign and unknown ones."""
        mine = (
            _grant.c.view == view,
            _grant.c.session_sha256 == session.key,
            _grant.c.opened_ms > _ms(self.now() - self.limits.absolute),
        )
        with self._catalogue.engine.connect() as connection:
            row = connection.execute(select(_grant).where(*mine)).mappings().one_or_none()
        return None if row is None else _to_grant(row)

    def count_refusal(self, session: Session, view: str) -> None:
        """Count and report an attempt to read under a view that is not this session's."""
        self.refused_views += 1
        _log.warning("view_refused view=%.40r account=%s refused=%d", view, session.account, self.refused_views)

    def note_export(self, session: Session, view: str, entry_index: int) -> None:
        """Note that handing out the original was logged, at this index."""
        mine = (_grant.c.view == view, _grant.c.session_sha256 == session.key)
        with self._catalogue.writing() as connection:
            connection.execute(update(_grant).where(*mine).values(export_index=entry_index))


def utc_now() -> datetime:
    """Return the time by which links, sessions and views run out."""
    return datetime.now(UTC)


def create_sign_in_link(vault: Vault, base_url: str, account: str, role: Role, valid_s: int) -> str:
    """Return a link that signs one browser in, once, within `valid_s` seconds; the server may be another process."""
    token = Sessions(vault.catalogue, Limits(), utc_now).create_link(account, role, timedelta(seconds=valid_s))
    return f"{base_url.rstrip('/')}/sign-in?token={token}"


def digest(token: str) -> bytes:
    """Return what is stored of a secret. It is 256 random bits, so a plain digest is enough: nothing to guess."""
    return hashlib.sha256(token.encode()).digest()


def _to_session(row: RowMapping) -> Session:
    return Session(
        key=row["token_sha256"],
        account=row["account"],
        actor=Actor(id=PersonId(row["actor_id"]), role=_role(row["role"]), name=row["actor_name"]),
        purpose=row["purpose"],
        seen_at=datetime.fromtimestamp(row["seen_ms"] / 1000, UTC),
    )


def _to_grant(row: RowMapping) -> Grant:
    return Grant(
        view=row["view"],
        clip=Digest.parse(row["clip"]),
        purpose=row["purpose"],
        entry_index=row["entry_index"],
        opened_at=datetime.fromtimestamp(row["opened_ms"] / 1000, UTC),
        export_index=row["export_index"],
    )


def _role(text: str) -> Role:
    if text not in get_args(Role):
        raise ValueError(f"not a role: {text!r}")
    return cast("Role", text)


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
