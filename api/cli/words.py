"""The words of the command line in English and Chinese, and the choice between them.

Modest on purpose: headings, outcomes, and for each error class what happened and what to do. The one line of an error
itself stays English: it carries names, digests and positions that are searched for.
"""

from __future__ import annotations

import os

from api.web.i18n import Language, Translator

WORDS: dict[str, tuple[str, str]] = {  # key -> English, Chinese
    "error": ("liuhen: {message}", "留痕：{title}：{message}"),
    "remedy": ("  → {remedy}", "  → {remedy}"),
    "error.unexpected": (
        "liuhen: unexpected {kind}: {message}; full report: {report}",
        "留痕：意外错误 {kind}：{message}；完整报告：{report}",
    ),
    "interrupted": (
        "liuhen: interrupted; what was sealed stays sealed, the same command continues",
        "留痕：已中断；已封存的不受影响，再次运行同一命令即可继续",
    ),
    "init.done": ("vault created in {root}", "已创建证据库 {root}"),
    "init.origin": ("log origin   {origin}", "日志名称   {origin}"),
    "init.vkey": ("verifier key {vkey}", "验证公钥   {vkey}"),
    "init.advice": (
        "Keep the verifier key and every checkpoint outside this machine: with them anyone can prove a later change.",
        "请把验证公钥和各检查点另存于本机之外：凭它们任何人都能证明事后改动。",
    ),
    "serve.at": ("review pages: {url}", "审阅页面：{url}"),
    "serve.link": (
        "one-time sign-in link, valid {minutes} minutes:\n  {url}",
        "一次性登录链接（{minutes} 分钟内有效）：\n  {url}",
    ),
    "serve.stop": ("Ctrl-C stops.", "按 Ctrl-C 停止。"),
    "status.sealed": ("sealed", "已封存"),
    "status.duplicate": ("duplicate", "重复"),
    "status.damaged": ("damaged", "损坏封存"),
    "status.failed": ("FAILED", "失败"),
    "ingest.skipped": ("not taken  {path}: {reason}", "未取  {path}：{reason}"),
    "ingest.resumed": ("{label}: going on where the last session stopped", "{label}：继续上次未完成的采集"),
    "ingest.known": ("{label}: {files} files taken before are unchanged", "{label}：{files} 个文件此前已采集且未变"),
    "ingest.done": (
        "{label}: {sealed} sealed · {damaged} sealed as damaged · {duplicate} duplicate · {failed} failed · {bytes} in {time}",
        "{label}：封存 {sealed} 个 · 损坏封存 {damaged} 个 · 重复 {duplicate} 个 · 失败 {failed} 个 · {bytes}，用时 {time}",
    ),
    "column.clip": ("clip", "录像"),
    "column.name": ("name", "文件名"),
    "column.bytes": ("bytes", "字节"),
    "column.media": ("media", "类型"),
    "column.condition": ("condition", "状态"),
    "column.reason": ("reason", "原因"),
    "column.started": ("recorded", "摄录时间"),
    "column.sealed": ("sealed", "封存时间"),
    "column.duration": ("length", "时长"),
    "column.index": ("entry", "日志序号"),
    "column.case": ("case", "案件"),
    "column.number": ("number", "案号"),
    "column.title": ("title", "案由"),
    "column.target": ("target", "执法对象"),
    "column.category": ("category", "执法类别"),
    "column.clips": ("clips", "录像数"),
    "column.device": ("device", "设备"),
    "column.label": ("label", "名称"),
    "column.driver": ("driver", "驱动"),
    "column.docked": ("last docked", "最近接入"),
    "column.time": ("time", "时间"),
    "column.type": ("entry type", "事项"),
    "column.actor": ("actor", "操作人"),
    "column.detail": ("detail", "内容"),
    "column.key": ("key", "设置"),
    "column.value": ("value", "值"),
    "column.source": ("source", "来源"),
    "column.meaning": ("meaning", "含义"),
    "column.check": ("check", "检查项"),
    "column.result": ("result", "结果"),
    "media.video": ("video", "视频"),
    "media.audio": ("audio", "音频"),
    "media.image": ("image", "照片"),
    "media.document": ("document", "文档"),
    "media.other": ("other", "其他"),
    "condition.whole": ("whole", "完整"),
    "condition.damaged": ("damaged", "受损"),
    "clip.written": ("{path}: {bytes} bytes, {clip}", "{path}：{bytes} 字节，{clip}"),
    "clip.proof": ("{path}: proof of entry {index}", "{path}：第 {index} 条日志的证明"),
    "case.opened": ("case {number} opened, entry {index}", "案件 {number} 已立卷，日志第 {index} 条"),
    "case.linked": ("{name} linked to case {number}, entry {index}", "{name} 已关联案件 {number}，日志第 {index} 条"),
    "case.unlinked": (
        "{name} unlinked from case {number}, entry {index}",
        "{name} 已解除与案件 {number} 的关联，日志第 {index} 条",
    ),
    "export.done": ("{path}: {clips} clips, {bytes}", "{path}：{clips} 段录像，{bytes}"),
    "export.fingerprint": (
        "fingerprint of the log's key, to be told by another way:\n  {fingerprint}",
        "日志公钥指纹（请另行告知对方）：\n  {fingerprint}",
    ),
    "export.check": (
        "Check it anywhere, without us: unzip it and run `python3 verify.py`.",
        "无需本系统即可核验：解压后运行 `python3 verify.py`。",
    ),
    "rebuild.done": ("catalogue rebuilt from {entries} log entries", "已由 {entries} 条日志重建目录"),
    "verify.step": ("step {number}", "第 {number} 步"),
    "verify.ok": ("ok     ", "通过"),
    "verify.fault": ("FAULT  ", "不符"),
    "verify.skipped": ("skipped", "略过"),
    "verify.finding": ("noticed", "提示"),
    "verify.yes": ("yes", "是"),
    "verify.no": ("NO", "否"),
    "verify.holds": ("All holds.", "全部成立。"),
    "verify.fails": ("It does not hold. Write nothing more to this vault.", "不成立。请勿再向本库写入。"),
    "doctor.ok": ("ok", "正常"),
    "doctor.warn": ("WARN", "注意"),
    "doctor.fail": ("FAIL", "异常"),
}

ERRORS_ZH: dict[str, tuple[str, str]] = {  # error class -> what happened, what to do
    "VaultError": ("证据库不能执行该操作", "运行 `liuhen doctor`，它会指出数据目录的问题。"),
    "VaultMissingError": ("没有证据库", "用 --data 目录 或 LIUHEN_DATA 指明数据目录，或用 `liuhen init` 新建。"),
    "VaultExistsError": ("此处已有证据库", "使用已有的证据库，或用 --data 指明一个空目录。"),
    "NotFoundError": ("找不到对象", "查看现有内容：`liuhen clip list`、`liuhen case list`、`liuhen device list`。"),
    "AmbiguousError": ("简写不唯一", "多写几位摘要，或写完整案号。"),
    "ConflictError": ("与已有记录冲突", "用 `liuhen clip show` 或 `liuhen case show` 查看后，确有必要再重复操作。"),
    "StorageError": ("存储拒绝写入或读取", "清出空间或更换磁盘后重新开始；已确认封存的内容不会丢失。"),
    "AppendOnlyViolationError": ("只增文件将被改写", "不要重试。保全磁盘并运行 `liuhen verify`。"),
    "IntegrityError": ("完整性问题", "不要再写入。保全磁盘，运行 `liuhen verify`，从副本恢复。"),
    "CheckpointInvalidError": ("检查点无效", "不要再写入。保全磁盘，运行 `liuhen verify`，从副本恢复。"),
    "FixityMismatchError": ("原件与封存摘要不符", "不要再写入。保全磁盘，运行 `liuhen verify`，从副本恢复。"),
    "EntryInvalidError": ("日志条目无效", "不要再写入。保全磁盘，运行 `liuhen verify`，从副本恢复。"),
    "LogForkError": ("日志分叉", "不要再写入。保留两个检查点：二者合在一起即可证明分叉。恢复较新的状态。"),
    "ObjectMissingError": ("封存的原件缺失", "不要再写入。保全磁盘，运行 `liuhen verify`，从副本恢复。"),
    "RecordMismatchError": ("记录与日志承诺不符", "不要再写入。保全磁盘，运行 `liuhen verify`，从副本恢复。"),
    "CatalogueMismatchError": ("目录与日志不符", "以日志为准。运行 `liuhen rebuild`，再运行 `liuhen verify`。"),
    "HardwareError": ("设备故障", "检查设备连接后再次运行；已封存的不会再复制。"),
    "VolumeUnusableError": ("无法读取该目录", "请指明一个目录或已挂载、当前账户可读的存储卡。"),
    "DeviceGoneError": ("设备已断开", "拔下后重新接入并再次运行；已封存的不会再复制。"),
    "DeviceReadError": ("设备读取失败", "再次运行；若同一位置仍失败，请保留存储卡，勿擦除，并用 ddrescue 做镜像。"),
    "ItemChangedError": ("文件在读取时发生变化", "停止设备录像，待其关闭文件后再次运行。"),
    "ConfigError": ("设置有误", "去掉该设置后运行 `liuhen config`：它列出每一项、含义和来源。"),
    "UsageError": ("用法有误", "加 --help 运行该命令查看用法。"),
    "OutputExistsError": ("输出文件已存在", "用 -o 指明其他文件，或用 --force 替换。"),
    "OutputError": ("无法写出文件", "用 -o 指明可写且空间足够的位置，再次运行。"),
    "ListenError": (
        "无法监听该地址",
        "可能另一个 `liuhen serve` 正在使用该端口。停止它，或换一个端口：--port N（或 `make run PORT=N`）。",
    ),
    "UnhealthyError": ("自检发现异常", "按上面标为“异常”的各行处理。"),
    "NetworkFileSystemError": (
        "数据目录在网络文件系统上",
        "请把数据目录放在本机磁盘（ext4、xfs、btrfs、zfs）；副本可以放到网络上。",
    ),
    "IngestIncompleteError": ("部分文件未能采集", "再次运行同一命令完成采集：已封存的不会再复制。"),
}


def choose(setting: str = "auto") -> Language:
    """Choose the language: the setting, else LC_ALL, LC_MESSAGES or LANG, else English."""
    if setting != "auto":
        return "zh-CN" if setting == "zh" else "en"
    for variable in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if value := os.environ.get(variable):
            return "zh-CN" if value.startswith("zh") else "en"
    return "en"


def translator(language: Language) -> Translator:
    """Return the words of one language."""
    column = 1 if language == "zh-CN" else 0
    return Translator(language, {key: pair[column] for key, pair in WORDS.items()})
