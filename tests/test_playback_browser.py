"""Virtual files, remuxes and proxies in a real browser: first picture, exact steps, the end."""

from __future__ import annotations

import http.server
import io
import re
import threading
from typing import TYPE_CHECKING, Any, ClassVar

import browser
import footage
import pytest
from movies import Memory

from transcode.derived.recipes import Source, cook
from transcode.virtual.media import VirtualMedia

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.browser

PAGE = b"<!doctype html><video id=v muted></video><canvas id=c></canvas>"
PLAYER = """async ([url, times, scale, end, picks]) => {
  const v = document.getElementById('v'), c = document.getElementById('c');
  const g = c.getContext('2d', {willReadFrequently: true});
  const shown = () => new Promise(r => v.requestVideoFrameCallback((_, m) => r(m.mediaTime)));
  const until = name => new Promise((r, j) => {
    v.addEventListener(name, r, {once: true});
    v.addEventListener('error', () => j(new Error(name + ': ' + v.error.message)), {once: true});
    setTimeout(() => j(new Error('no ' + name)), 20000);
  });
  const counter = () => {
    const block = 16 * v.videoWidth / 320;
    c.width = v.videoWidth; c.height = v.videoHeight; g.drawImage(v, 0, 0);
    let number = 0;
    for (let bit = 0; bit < 16; bit++)
      if (g.getImageData(bit * block + block / 2, block / 2, 1, 1).data[0] > 125) number |= 1 << bit;
    return number;
  };
  const began = performance.now();
  const first = shown(), loaded = until('loadeddata');
  v.preload = 'auto'; v.src = url;
  await loaded;
  const at = await first;
  const result = {first_ms: performance.now() - began, first: at, duration: v.duration, width: v.videoWidth,
                  height: v.videoHeight, counter: counter(), steps: []};
  for (const k of picks) {
    const low = times[k] / scale, high = (k + 1 < times.length ? times[k + 1] : end) / scale;
    for (let attempt = 0; attempt < 3; attempt++) {  // as the page does: look, and seek again if it is not the one
      const frame = shown(), done = until('seeked');
      v.currentTime = (low + high) / 2 + attempt * 1e-4;
      await done;
      const time = await Promise.race([frame, new Promise(r => setTimeout(() => r(low), 400))]);
      if (Math.abs(time - low) < 0.002) break;
    }
    result.steps.push([k, counter()]);
  }
  const done = until('seeked');
  v.currentTime = Math.max(0, v.duration - 0.5);
  await done;
  const ended = until('ended');
  await v.play();
  await ended;
  return result;
}"""


class Handler(http.server.BaseHTTPRequestHandler):
    """Byte ranges of virtual media."""

    protocol_version = "HTTP/1.1"
    media: ClassVar[dict[str, VirtualMedia]] = {}

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        media = self.media.get(self.path)
        if media is None:
            self._answer(200, {"Content-Type": "text/html"}, [PAGE], len(PAGE))
            return
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start, end = (int(asked[1]), int(asked[2] or media.size - 1) + 1) if asked else (0, media.size)
        headers = {"Content-Type": media.mime.split(";")[0], "Accept-Ranges": "bytes", "ETag": media.etag}
        if asked:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{media.size}"
        self._answer(206 if asked else 200, headers, media.read(start, end), end - start)

    def _answer(self, status: int, headers: dict[str, str], pieces: Any, length: int) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(length)}.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            for piece in pieces:
                self.wfile.write(piece)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the browser has enough: it asks again when it wants more


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Browsers drop connections; that is no error here."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser.chromium() as launched:
        yield launched


def play(chromium: Any, address: str, media: VirtualMedia, picks: int = 20) -> dict[str, Any]:
    Handler.media["/clip"] = media
    page = chromium.new_page()
    page.goto(address + "/page")
    times = media.frame_times()
    chosen = [number * 7919 % len(times.ticks) for number in range(picks)] + [len(times.ticks) - 1]
    try:
        result: dict[str, Any] = page.evaluate(
            PLAYER, [address + "/clip", list(times.ticks), times.timescale, times.end, chosen]
        )
    finally:
        page.close()
    return result


def check(result: dict[str, Any], media: VirtualMedia) -> None:
    assert result["counter"] == 0
    assert [seen for _, seen in result["steps"]] == [wanted for wanted, _ in result["steps"]]
    assert result["duration"] == pytest.approx(media.duration_s, abs=0.05)


@pytest.mark.parametrize("name", [name for name in footage.MP4_VARIANTS if name not in {"audio_only", "rotated"}])
def test_an_original_plays_from_its_first_picture_to_its_end(
    name: str, chromium: Any, address: str, tmp_path: Path
) -> None:
    media = VirtualMedia.open(Memory(footage.MP4_VARIANTS[name](tmp_path / name).read_bytes()), identity=name)
    check(play(chromium, address, media), media)


def test_a_long_original_is_sought_at_once(chromium: Any, address: str, tmp_path: Path) -> None:
    source = Memory(footage.long(tmp_path / "long.mp4", seconds=1800).read_bytes())
    media = VirtualMedia.open(source, identity="long")
    source.bytes_read = 0
    result = play(chromium, address, media, picks=12)
    assert result["counter"] == 0
    assert [seen for _, seen in result["steps"]] == [wanted % 250 for wanted, _ in result["steps"]]
    assert result["duration"] == pytest.approx(media.duration_s, abs=0.05)


def test_an_upright_recording_is_shown_upright(chromium: Any, address: str, tmp_path: Path) -> None:
    media = VirtualMedia.open(Memory(footage.rotated(tmp_path / "r.mp4").read_bytes()), identity="r")
    result = play(chromium, address, media, picks=1)
    assert (result["width"], result["height"]) == (180, 320)


@pytest.mark.parametrize(
    "derived",
    [
        (footage.ts, "mpegts", "remux"),
        (footage.mkv, "matroska", "remux"),
        (footage.avi_h264_alaw, "avi", "remux"),
        (footage.ps_h264_g711, "mpeg", "remux"),
        (footage.hevc_mp4, "mov", "proxy"),
        (footage.ps_mpeg2, "mpeg", "proxy"),
        (footage.avi_mjpeg_pcm, "avi", "proxy"),
        (footage.vfr, "mov", "proxy"),
    ],
)
def test_a_derivative_plays_from_its_first_picture_to_its_end(
    derived: tuple[Callable[[Path], Path], str, Any], chromium: Any, address: str, tmp_path: Path
) -> None:
    maker, demuxer, recipe = derived
    data = maker(tmp_path / "original").read_bytes()
    source = Source(file=io.BytesIO(data), demuxer=demuxer, position=lambda: 0.0)
    cook(source, recipe, str(tmp_path / "made.mp4"), lambda _: None)
    media = VirtualMedia.open(Memory((tmp_path / "made.mp4").read_bytes()), identity="made")
    check(play(chromium, address, media), media)


def test_a_recording_cut_short_plays_to_its_last_picture(chromium: Any, address: str, tmp_path: Path) -> None:
    media = VirtualMedia.open(Memory(footage.mp4_truncated(tmp_path / "a").read_bytes()), identity="cut")
    check(play(chromium, address, media), media)
