"""What the pages refuse, and the HTTP status of every error that reaches them."""

from __future__ import annotations

from typing import ClassVar

from api.errors import ApiError
from vault import errors

_STATUS: tuple[tuple[type[errors.LiuhenError], int], ...] = (
    (errors.NotFoundError, 404),
    (errors.AmbiguousError, 409),
    (errors.ConflictError, 409),
    (errors.StorageError, 507),
    (errors.IntegrityError, 500),
)


class PageError(ApiError):
    """Base of what the pages refuse; each says its HTTP status."""

    status: ClassVar[int] = 400
    remedy = "Go back and try again."


class SignInRequiredError(PageError):
    """No live session: never signed in, signed out, or idle too long."""

    status = 401
    remedy = "Run `liuhen sign-in` and open the link it prints."


class ViewRefusedError(PageError):
    """The view is unknown, another session's, or too old; the three are not told apart."""

    status = 403
    remedy = "Open the recording's page again: that logs a new viewing."


class NotPlayableError(PageError):
    """Nothing can be served under this name for this clip, or not yet."""

    status = 409
    remedy = "Download the original, or wait until the playable copy is made."


class FormError(PageError):
    """A form came in without what it needs."""

    status = 422
    remedy = "Go back, fill in what is named, and send it again."


class PageNotFoundError(PageError):
    """No page has this address."""

    status = 404
    remedy = "Check the address, or start from the recordings."


class InternalError(PageError):
    """A bug or a broken machine; the server's output has the cause, the person gets none of it."""

    status = 500
    remedy = "The administrator finds the cause in the server's output. Nothing that was acknowledged is lost."


def status_of(err: errors.LiuhenError) -> int:
    """Return the HTTP status of an error."""
    if isinstance(err, PageError):
        return err.status
    return next((status for kind, status in _STATUS if isinstance(err, kind)), 500)
