"""The two forms that go with exported footage, as print-ready HTML: 电子数据清单 (EXT-09) and a certificate (EXT-19). Pure.

The forms state what the software did and leave blank what only people can say: place, holder, signatures. Wording: a
form never claims more than the log shows, and never that something is admissible.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

CHINA = timezone(timedelta(hours=8))
MEDIA_ZH = {"video": "视频", "audio": "音频", "image": "图片", "document": "文档", "other": "其他"}
CONDITION_ZH = {"whole": "完整", "damaged": "采集时已残缺, 按原样逐字节封存"}
METHOD_ZH = "自设备只读读取原始文件, 读取时同步计算完整性校验值, 写入后自磁盘重新读取并核对一致, 封存并记入已签名日志"
METHOD_EN = (
    "read once from the device, never writing to it; SHA-256 computed while reading; written, read back from the disk and "
    "compared; sealed and entered in the signed log"
)
STYLE = """@page{size:A4 landscape;margin:14mm}
body{font:11pt/1.45 "Songti SC","Noto Serif CJK SC",SimSun,serif;color:#000;margin:2em auto;max-width:270mm}
h1{font-size:18pt;text-align:center;letter-spacing:.2em;margin:.2em 0}
h1 small{display:block;font-size:11pt;letter-spacing:0;font-weight:normal}
table{border-collapse:collapse;width:100%;margin:1em 0;font-size:9pt}
th,td{border:1px solid #000;padding:3px 5px;vertical-align:top;text-align:left;overflow-wrap:anywhere}
th{text-align:center;font-weight:bold;overflow-wrap:normal}td.number{white-space:nowrap;text-align:right}thead{display:table-header-group}tr{break-inside:avoid}
code{font:8pt/1.3 ui-monospace,Menlo,Consolas,monospace;overflow-wrap:anywhere}
.sign{display:grid;grid-template-columns:1fr 1fr 1fr;gap:2.2em 2em;margin-top:2em;break-inside:avoid}
.sign div{border-bottom:1px solid #000;padding-bottom:2.2em}
.note{font-size:9pt}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedClip:
    """One row: everything is taken from the log and from the records that open it."""

    file: str  # in the bag
    name: str  # original name
    path: str  # on the device
    media: str
    format: str
    condition: str
    size: int
    sha256: str
    sm3: str
    collector: str
    collected_at: datetime | None
    recorded: str  # when it was recorded, with source, as far as known
    device: str
    clock: str
    seal_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Handout:
    """The export as a whole."""

    export: str
    made_at: datetime
    origin: str
    size: int
    root: str
    fingerprint: str
    exporter: str
    purpose: str
    case: str  # number and title, or empty


def evidence_list(handout: Handout, clips: Sequence[ListedClip]) -> bytes:
    """Return 电子数据清单."""
    head = (
        "序号 No.",
        "名称 Name",
        "类型、格式 Type, format",
        "大小 Bytes",
        "完整性校验值 Integrity value",
        "采集人 Collector",
        "采集时间 Time",
        "采集地点 Place",
        "来源设备 Device",
        "备注 Remarks",
    )
    rows = "".join(_list_row(number, clip) for number, clip in enumerate(clips, 1))
    body = f"""<h1>电子数据清单<small>List of electronic data</small></h1>
{_summary(handout)}
<table><thead><tr>{"".join(f"<th>{escape(title)}</th>" for title in head)}</tr></thead><tbody>
{rows}</tbody></table>
<p>采集方法: {METHOD_ZH}。<br>Method: {METHOD_EN}.</p>
{_signatures("采集人 (签名) Collector", "采集人 (签名) Collector", "持有人 / 提供人 (签名) Holder", "见证人 (签名) Witness", "制作人 (签名) Drawn up by", "日期 Date")}
{_limits()}"""
    return _page("电子数据清单", body)


def certificate(handout: Handout, clips: Sequence[ListedClip]) -> bytes:
    """Return the certificate that a qualified person may sign after checking it."""
    head = (
        "No.",
        "File 文件",
        "Copied from 来源",
        "Copied at 复制时间",
        "By 采集人",
        "Log entry 日志序号",
        "SHA-256 完整性校验值",
    )
    rows = "".join(_certificate_row(number, clip) for number, clip in enumerate(clips, 1))
    body = f"""<h1>数据复制证明书<small>Certificate of data copied from electronic devices and media</small></h1>
{_summary(handout)}
<table><thead><tr>{"".join(f"<th>{escape(title)}</th>" for title in head)}</tr></thead><tbody>
{rows}</tbody></table>
<p>上列文件系自所列设备复制: {METHOD_ZH}。复制件与其完整性校验值可由任何人用标准工具 (sha256sum) 重新计算核对。</p>
<p>The files listed were copied from the devices listed: {METHOD_EN}. Anyone can compute the integrity values again with
standard tools (sha256sum) and compare them.</p>
<p>本人具备相应资格, 已核对上列内容与随附证据包的核验结果。<br>
I am qualified to make this statement and have checked it against the result of verifying the accompanying bag.</p>
{_signatures("签名 Signature", "姓名、职务 Name, title", "资格 Qualification", "机关 Agency", "地点 Place", "日期 Date")}
{_limits()}"""
    return _page("数据复制证明书 Certificate", body)


def _list_row(number: int, clip: ListedClip) -> str:
    sm3 = f"<br>SM3 <code>{escape(clip.sm3)}</code>" if clip.sm3 else ""
    cells = (
        str(number),
        f"{escape(clip.name)}<br><code>{escape(clip.file)}</code>",
        f"{MEDIA_ZH.get(clip.media, clip.media)}<br>{escape(clip.format)}",
        f"{clip.size:,}",
        f"SHA-256 <code>{clip.sha256}</code>{sm3}",
        escape(clip.collector),
        _time(clip.collected_at),
        "",
        f"{escape(clip.device)}<br>设备时钟 {escape(clip.clock)}",
        f"{CONDITION_ZH.get(clip.condition, clip.condition)}<br>摄录时间 {escape(clip.recorded)}<br>日志第 {clip.seal_index} 条",
    )
    return _row(cells, number_at=3)


def _certificate_row(number: int, clip: ListedClip) -> str:
    cells = (
        str(number),
        f"{escape(clip.name)}<br><code>{escape(clip.file)}</code><br>{clip.size:,} bytes",
        f"{escape(clip.device)}<br><code>{escape(clip.path)}</code>",
        _time(clip.collected_at),
        escape(clip.collector),
        str(clip.seal_index),
        f"<code>{clip.sha256}</code>",
    )
    return _row(cells)


def _row(cells: Sequence[str], number_at: int = 0) -> str:
    tags = ('<td class="number">' if place in {0, number_at} else "<td>" for place in range(len(cells)))
    return f"<tr>{''.join(f'{tag}{cell}</td>' for tag, cell in zip(tags, cells, strict=True))}</tr>\n"


def _summary(handout: Handout) -> str:
    lines = (
        ("案件 Case", handout.case or "——"),
        ("导出 Export", f"{handout.export}, {_time(handout.made_at)}, {handout.exporter}"),
        ("用途 Purpose", handout.purpose),
        ("日志 Log", f"{handout.origin}, {handout.size} 条 entries"),
        ("树根 Root", handout.root),
        ("公钥指纹 Key fingerprint (SHA-256)", handout.fingerprint),
    )
    return "<p>" + "<br>\n".join(f"{escape(name)}: {escape(value)}" for name, value in lines) + "</p>"


def _signatures(*lines: str) -> str:
    return '<div class="sign">' + "".join(f"<div>{escape(line)}</div>" for line in lines) + "</div>"


def _limits() -> str:
    return (
        '<p class="note">封存之后的改动、删除或换序, 任何持有已签名检查点的人均可发现; 本表不涉及封存之前的情况, 亦不表明没有其他录像。'
        "设备时钟与设备身份为设备自称。核验方法见 VERIFY.md。<br>"
        "Any later change, removal or reordering can be detected by anyone who holds the signed checkpoint. Nothing is stated "
        "about the time before sealing, nor that nothing else was recorded. A device's clock and identity are its own claims. "
        "How to check: VERIFY.md.</p>"
    )


def _time(moment: datetime | None) -> str:
    if moment is None:
        return ""
    return f"{moment.astimezone(CHINA):%Y-%m-%d %H:%M:%S} (UTC+8)"


def _page(title: str, body: str) -> bytes:
    page = f"""<!doctype html>
<html lang="zh-CN"><head><meta charset="utf-8"><title>{escape(title)}</title>
<style>
{STYLE}</style></head><body>
{body}
</body></html>
"""
    return page.encode()


def utc(time_ms: int) -> datetime:
    """Turn the log's milliseconds into a moment."""
    return datetime.fromtimestamp(time_ms / 1000, UTC)
