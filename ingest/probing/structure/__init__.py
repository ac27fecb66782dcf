"""Is a file complete, judged by its own structure? One check a format. Pure: reads through `Source`, decodes nothing.

A check finds what the file itself contradicts: an end that its lengths promise and that is not there, a missing index,
zeros where a picture should be. It stays silent where a format makes no promise. Every check is bounded in time and
memory whatever the file claims.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from ingest.probing.structure import audio, documents, images, iso, matroska, mpeg, riff
from ingest.probing.structure.source import BytesSource, DamageError, Source, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CHECKS", "BytesSource", "Source", "Verdict", "check"]

# Format (as ingest.sniff names it) -> check. A format without a row promises nothing that can be checked.
CHECKS: dict[str, Callable[[Source], dict[str, object]]] = {
    "mp4": iso.check_movie,
    "mov": iso.check_movie,
    "m4a": iso.check_movie,
    "3gp": iso.check_movie,
    "heic": iso.check_picture,
    "avif": iso.check_picture,
    "avi": riff.check_avi,
    "wav": riff.check_wav,
    "webp": riff.check_riff,
    "mkv": matroska.check_matroska,
    "webm": matroska.check_matroska,
    "mpegts": mpeg.check_transport,
    "mpegps": mpeg.check_program,
    "dhav": mpeg.check_dhav,
    "flv": mpeg.check_flash,
    "mp3": audio.check_mp3,
    "aac": audio.check_adts,
    "amr": audio.check_amr,
    "ogg": audio.check_ogg,
    "jpeg": images.check_jpeg,
    "png": images.check_png,
    "gif": images.check_gif,
    "bmp": images.check_bmp,
    "tiff": images.check_tiff,
    "pdf": documents.check_pdf,
    "zip": documents.check_zip,
    "office": documents.check_zip,
}


def check(kind: str, source: Source) -> Verdict:
    """Judge a file of the given format; never raises for what is in it."""
    if source.size == 0:
        return Verdict(reason="the file is empty")
    find = CHECKS.get(kind)
    if find is None:
        return Verdict()
    try:
        return Verdict(notes=find(source))
    except DamageError as err:
        return Verdict(reason=str(err), notes=err.notes)
    except (struct.error, IndexError, ValueError, OverflowError) as err:
        # The parsers read fixed places of small headers; a header too short for them is broken, however it broke.
        return Verdict(reason=f"its structure cannot be read ({type(err).__name__})")
