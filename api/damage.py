"""Why a file is damaged, in the reader's language. Pure.

Records keep the reason in English, as the look into the file gave it (ingest/probing). Here each of its sentences has a
pattern and the same in Chinese; a sentence of an older or newer software that fits none is shown as it is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from api.present import printable

if TYPE_CHECKING:
    from api.web.i18n import Language

# Things that a sentence names. First the part of a sentence, then what it is called in Chinese.
_THINGS = {
    r"the RF64 chunk": "RF64 数据块",
    r"the RIFF chunk": "RIFF 数据块",
    r"chunk (.+)": "数据块 {0}",
    r"box (.+) at byte (\d+)": "第 {1} 字节处的 {0} 盒",
    r"the element at byte (\d+)": "第 {0} 字节处的元素",
    r"the frame at byte (\d+)": "第 {0} 字节处的帧",
    r"the packet at byte (\d+)": "第 {0} 字节处的数据包",
    r"the last page": "最后一页",
    r"the directory": "目录",
    r"the picture": "图像",
    r"the segment": "数据段",
    r"the sound": "声音",
    r"pictures": "帧画面",
    r"sound samples": "个声音样本",
    r"samples": "个样本",
    r"only zeros": "全为零",
    r"cut off: a piece of a frame": "被截断，帧不完整",
    r"no frame": "没有帧",
    r"no packet": "没有数据包",
    r"no pack": "没有数据包",
    r"no marker": "没有标记",
    r"an unknown time": "未知时刻",
    r"(\S+) s": "{0} 秒",
}
_SENTENCES = {
    r"the file is empty": "文件为空",
    r"its structure cannot be read \((.+)\)": "文件结构无法读取（{0}）",
    r"it cannot be examined": "无法检查此文件",
    r"it is named as (.+) but holds only zeros": "文件名称表明是 {0}，内容却全为零",
    r"it is named as (.+) but is none inside": "文件名称表明是 {0}，内容却不是",
    r"it cannot be opened \((.+)\)": "无法打开（{0}）",
    r"it cannot be read to its end \((.+)\)": "无法读到结尾（{0}）",
    r"(\d+) dropped or broken packets, the first at (.+)": "有 {0} 个数据包丢失或损坏，首个位于 {1}",
    r"no sound can be decoded": "声音无法解码",
    r"no picture can be decoded": "画面无法解码",
    r"its first picture cannot be decoded": "第一帧画面无法解码",
    r"its pictures are too large to be decoded": "画面尺寸过大，无法解码",
    r"the picture has no size": "图像没有尺寸",
    r"the picture cannot be decoded(?: \((.+)\))?": "图像无法解码",
    r"it holds no picture and no sound": "文件中没有画面和声音",
    r"it holds no pictures and no sound(?: \(no cluster\))?": "文件中没有画面和声音",
    r"it holds no pictures \(no movie list\)": "文件中没有画面（缺少画面列表）",
    r"it holds no sound: the recording was not closed": "文件中没有声音：录制未正常结束",
    r"it holds no sound": "文件中没有声音",
    r"it has no packets": "文件中没有数据包",
    r"it ends before any picture": "文件在图像开始之前就已结束",
    r"cut off: (.+) ends at byte (\d+), the file at (\d+)": "被截断：{0}应到第 {1} 字节，文件在第 {2} 字节结束",
    r"cut off: (\d+) of (\d+) (.+) lie beyond the end of the file": "被截断：{1} {2}中有 {0} 个位于文件结尾之后",
    r"cut off: the end mark \(%%EOF\) is missing": "被截断：缺少结束标记（%%EOF）",
    r"cut off: the directory at the end is missing": "被截断：缺少结尾的目录",
    r"cut off: the end marker of the picture is missing": "被截断：缺少图像的结束标记",
    r"cut off: the end of the picture \(IEND\) is missing": "被截断：缺少图像的结尾（IEND）",
    r"cut off: the end of the picture is missing": "被截断：缺少图像的结尾",
    r"cut off inside the header of a page": "被截断：页头不完整",
    r"cut off inside an element's length": "被截断：元素长度不完整",
    r"cut off inside a packet: the last (\d+) bytes are not (\d+)": "被截断：最后一个数据包只有 {0} 字节，应为 {1} 字节",
    r"cut off inside a frame": "被截断：最后一帧不完整",
    r"cut off inside its last tag": "被截断：最后一个标签不完整",
    r"its index \(idx1\) is missing: the recording was not closed": "缺少索引（idx1）：录制未正常结束",
    r"its index \(idx1\) holds only zeros": "索引（idx1）全为零",
    r"its index \(idx1\) holds only zeros from entry (\d+) of (\d+) on": "索引（idx1）共 {1} 项，自第 {0} 项起全为零",
    r"its length was never written: the recording was not closed": "长度从未写入：录制未正常结束",
    r"chunk (\d+) of (\d+) holds only zeros": "共 {1} 个数据块，第 {0} 个全为零",
    r"only zeros at its end": "结尾全为零",
    r"only zeros from byte (\d+) on": "自第 {0} 字节起全为零",
    r"only zeros from byte (\d+) on, after (\d+) fragments": "自第 {0} 字节起全为零，此前有 {1} 个片段",
    r"only zeros from byte (\d+) on, after (\d+) clusters": "自第 {0} 字节起全为零，此前有 {1} 个数据簇",
    r"(.+) at byte (\d+), where a packet must begin": "第 {1} 字节处应为数据包的开头，却{0}",
    r"(.+) at byte (\d+), where a marker must stand": "第 {1} 字节处应为标记，却{0}",
    r"(.+) in its last (\d+) bytes": "最后 {1} 字节中{0}",
    r"(only zeros|no frame|cut off: a piece of a frame) at byte (\d+)": "第 {1} 字节处{0}",
    r"its last page is missing": "缺少最后一页",
    r"its last frame is broken": "最后一帧已损坏",
    r"the checksum of its part at byte (\d+) is wrong": "第 {0} 字节处的部分校验和不符",
    r"the index \(moov\) is missing: the recording was not closed": "缺少索引（moov）：录制未正常结束",
    r"the index \(moov\) lists no sample": "索引（moov）没有列出任何样本",
    r"the index is broken: a table is shorter than it says": "索引已损坏：表的长度不足",
    r"the index is broken: its tables disagree about the number of samples": "索引已损坏：各表的样本数不一致",
    r"the index is broken: its table of chunks is out of order": "索引已损坏：数据块表次序错乱",
    r"the index lists (\d+) samples of (\d+) bytes, the file has (\d+)": (
        "索引列有 {0} 个样本，每个 {1} 字节，而文件只有 {2} 字节"
    ),
    r"box (.+) in the index is broken": "索引中的 {0} 盒已损坏",
    r"its (.+) box is missing": "缺少 {0} 盒",
    r"no box begins at byte (\d+), where one must": "第 {0} 字节处应有盒，却没有",
    r"no element begins at byte (\d+), where one must": "第 {0} 字节处应有元素，却没有",
    r"the element at byte (\d+) has no length": "第 {0} 字节处的元素没有长度",
    r"an element's length cannot be read": "元素长度无法读取",
    r"picture (\d+) and (\d+) of (\d+) looked at hold only zeros": "抽查 {2} 帧画面：第 {0} 帧及另外 {1} 帧全为零",
}


def in_words(reason: str, language: Language) -> str:
    """Return a reason as people of that language read it, safe to show."""
    said = _chinese(_SENTENCES, reason) if language == "zh-CN" else None
    return printable(reason if said is None else said)


def _chinese(table: dict[str, str], text: str) -> str | None:
    for pattern, template in table.items():
        if found := re.fullmatch(pattern, text):
            parts = (part or "" for part in found.groups())
            return template.format(*(_chinese(_THINGS, part) or part for part in parts))
    return None
