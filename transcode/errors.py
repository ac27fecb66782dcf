"""The errors of playback and derived work. Texts are English; the web translates by `key`."""

from __future__ import annotations

from vault.errors import LiuhenError


class TranscodeError(LiuhenError):
    """Something about a derivative of a clip; the original is never concerned."""

    remedy = "The original is untouched. Download it with `liuhen clip get`, or ask again for the derivative."


class UnsupportedMediaError(TranscodeError):
    """This file cannot be shown by cutting fragments from it: another way (remux, proxy, download) is needed."""

    remedy = "Ask for the clip's derivative, or download the original with `liuhen clip get` and open it in a player."

    def __init__(self, text: str, *, key: str = "media.malformed") -> None:
        super().__init__(text)
        self.key = key  # message key for translation


class DerivativeError(TranscodeError):
    """A derivative could not be made."""

    def __init__(self, text: str, *, key: str = "derivative.failed") -> None:
        super().__init__(text)
        self.key = key


class DerivativeMissingError(TranscodeError):
    """The derivative is not there (yet)."""

    remedy = "Wait until its job is done, or ask for it again."


class RemuxRefusedError(TranscodeError):
    """The picture cannot be copied faithfully; it has to be converted."""

    remedy = "Nothing to do: a converted copy is made instead."
    key = "remux.refused"
