"""Photographs, in the child only: EXIF by exifread, and whether a JPEG can be decoded.

exifread is fed hostile bytes and raises whatever its parsing runs into; those errors mean "no EXIF", nothing more.
"""

from __future__ import annotations

import logging
import struct
from typing import TYPE_CHECKING, Any, BinaryIO

import av
import exifread

from ingest.probing.position import Point, parse_exif
from ingest.probing.start import read_time

if TYPE_CHECKING:
    from datetime import datetime

logging.getLogger("exifread").disabled = True  # it reports every odd tag on standard error

FIELD_CHARACTERS_MAX = 200
PIXELS_MAX = 64_000_000  # 64 megapixels in 4:2:0 take 96 MB
WHOLE_PIXELS = 2_000_000  # above, an eighth of the size is decoded: every coded bit is read, at half the time
_DECODABLE = frozenset({0xC0, 0xC1, 0xC2})  # baseline, extended and progressive Huffman coding: what the decoder knows
_FOREIGN_FAULTS = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError, AssertionError, RecursionError,
    OSError, EOFError, NotImplementedError, struct.error,
)  # fmt: skip
_FIELDS = {  # tag -> our name; cameras differ in which of the two directories they write a tag into
    "Make": "make",
    "Model": "model",
    "Software": "software",
    "Artist": "artist",
    "ImageDescription": "description",
    "Orientation": "orientation",
    "DateTime": "date_time",
    "DateTimeOriginal": "date_time_original",
    "DateTimeDigitized": "date_time_digitized",
    "OffsetTimeOriginal": "offset_time_original",
    "SubSecTimeOriginal": "sub_second_original",
    "ExposureTime": "exposure_time",
    "FNumber": "f_number",
    "ISOSpeedRatings": "iso",
    "FocalLength": "focal_length",
    "Flash": "flash",
    "BodySerialNumber": "body_serial_number",
    "LensModel": "lens_model",
    "UserComment": "user_comment",
    "GPSMapDatum": "gps_map_datum",
    "GPSDate": "gps_date",
}
_DIRECTORIES = ("EXIF", "Image", "GPS")


class Exif:
    """The EXIF of one photograph: fields as text, a position, the satellites' time."""

    def __init__(self, tags: dict[str, Any]) -> None:
        """Keep what we name; thumbnails and maker notes are left in the original."""
        self._tags = tags
        self.fields = {name: text for tag, name in _FIELDS.items() if (text := self._field(tag))}

    def _field(self, tag: str) -> str:
        found = next((self._tags[key] for part in _DIRECTORIES if (key := f"{part} {tag}") in self._tags), "")
        return str(found)[:FIELD_CHARACTERS_MAX].strip("\0 ")

    def position(self) -> Point | None:
        """Return where the photograph says it was taken."""
        latitude, longitude = self._values("GPS GPSLatitude"), self._values("GPS GPSLongitude")
        return parse_exif(latitude, self._text("GPS GPSLatitudeRef"), longitude, self._text("GPS GPSLongitudeRef"))

    def gps_time(self) -> datetime | None:
        """Return the satellites' date and time, UTC."""
        try:
            hour, minute, second = (int(float(value)) for value in self._values("GPS GPSTimeStamp"))
        except _FOREIGN_FAULTS:
            return None
        date = self.fields.get("gps_date", "").replace(":", "-")
        return read_time(f"{date}T{hour:02}:{minute:02}:{second:02}+00:00")

    def _values(self, tag: str) -> list[Any]:
        values = getattr(self._tags.get(tag), "values", None)
        return values if isinstance(values, list) else []

    def _text(self, tag: str) -> str:
        return str(self._tags.get(tag, ""))


def read_exif(stream: BinaryIO) -> Exif:
    """Read what EXIF there is; broken EXIF is no EXIF."""
    try:
        tags = exifread.process_file(stream, details=False, extract_thumbnail=False)
        return Exif(dict(tags))
    except _FOREIGN_FAULTS:
        return Exif({})


def is_decodable(notes: dict[str, object]) -> bool:
    """Say whether a JPEG is of a coding and a size that we decode; the others are judged by their structure."""
    width, height = notes.get("width", 0), notes.get("height", 0)
    pixels = width * height if isinstance(width, int) and isinstance(height, int) else 0
    return notes.get("coding") in _DECODABLE and notes.get("bits") == 8 and pixels <= PIXELS_MAX


def decode_jpeg(data: bytes, notes: dict[str, object]) -> str:
    """Return why a JPEG cannot be decoded; nothing when it can."""
    width, height = notes.get("width", 0), notes.get("height", 0)
    pixels = width * height if isinstance(width, int) and isinstance(height, int) else 0
    if pixels == 0:
        return "the picture has no size"
    decoder = av.CodecContext.create("mjpeg", "r")
    decoder.thread_count = 1
    decoder.options = {"max_pixels": str(PIXELS_MAX), "lowres": "3" if pixels > WHOLE_PIXELS else "0"}
    try:
        frames = decoder.decode(av.Packet(data)) + decoder.decode(None)
    except av.error.NotImplementedError:
        return ""
    except (av.error.FFmpegError, ValueError) as err:
        if isinstance(err, MemoryError):
            raise
        return f"the picture cannot be decoded ({type(err).__name__})"
    return "" if frames else "the picture cannot be decoded"
