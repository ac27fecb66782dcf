"""What a verification found: numbered steps, faults that break the proof, findings that do not. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vault.errors import IntegrityError

FAULTS_MAX = 200  # of one step; after a break in the log everything behind it would be named
Outcome = Literal["ok", "fault", "skipped"]

# What a vault that checks itself may claim (docs/DESIGN.md, threats). Nothing here may say more than is shown.
TRUST_SELF_EN = (
    "Trust level 1 of 4, self: the vault agrees with its own signed log. Any change, removal or reordering after sealing "
    "would have been found, unless the holder of the signing key made it and signed anew, or everything, database "
    "included, was put back to an older state. An auditor who kept an earlier checkpoint finds that too. Nothing is shown "
    "about the time before sealing, nor that nothing else was recorded."
)
TRUST_SELF_ZH = (
    "信任等级 1/4 (自证): 本库与其自身签名的日志一致。封存之后的任何改动、删除或换序均会被发现, 除非由签名私钥持有者所为并重新签名, "
    "或整库 (含数据库) 被退回旧状态; 审计人留存有较早检查点的, 亦可发现后者。本结论不涉及封存之前的情况, 也不表明没有其他录像。"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that does not hold: the exit status, the clip, entry or file at fault, what is wrong, what to do."""

    code: int
    object: str
    message: str
    remedy: str

    @classmethod
    def of(cls, error: type[IntegrityError], where: str, what: str) -> Fault:
        """Make a fault of the kind for which `error` is raised."""
        return cls(code=error.exit_code, object=where, message=what, remedy=error.remedy)

    def __str__(self) -> str:
        return f"{self.object}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something worth knowing that breaks no proof, such as the half copy of an interrupted docking."""

    object: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One numbered step of a verification."""

    number: int
    title_en: str
    title_zh: str
    outcome: Outcome
    detail: str


@dataclass(slots=True, kw_only=True)
class Report:
    """The result of `verify_vault` or `verify_clip`; grows step by step."""

    target: str
    origin: str = ""
    vkey: str = ""
    fingerprint: str = ""
    size: int = 0
    root: str = ""
    steps: list[Step] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether nothing was found at fault."""
        return not self.faults

    @property
    def exit_code(self) -> int:
        """The status of a command that prints this report: 0, or the code of the first fault."""
        return self.faults[0].code if self.faults else 0

    def add(
        self,
        number: int,
        titles: tuple[str, str],
        faults: Sequence[Fault],
        outcome: Outcome | None = None,
        detail: str = "",
    ) -> None:
        """Close a step: keep its faults, the first FAULTS_MAX of them one by one, the rest counted."""
        self.faults += faults[:FAULTS_MAX]
        if len(faults) > FAULTS_MAX:
            last = faults[FAULTS_MAX]
            more = f"and {len(faults) - FAULTS_MAX} more faults of this step, from here on"
            self.faults.append(Fault(code=last.code, object=last.object, message=more, remedy=last.remedy))
        outcome = outcome or ("fault" if faults else "ok")
        self.steps.append(Step(number=number, title_en=titles[0], title_zh=titles[1], outcome=outcome, detail=detail))

    def to_json(self) -> dict[str, object]:
        """Return the report as one JSON document; names are documented and stable (docs/formats.md)."""
        return {
            "target": self.target,
            "holds": self.holds,
            "exit": self.exit_code,
            "origin": self.origin,
            "vkey": self.vkey,
            "fingerprint": self.fingerprint,
            "size": self.size,
            "root": self.root,
            "trust": {"level": "self", "text_en": TRUST_SELF_EN, "text_zh": TRUST_SELF_ZH},
            "steps": [_public(step) for step in self.steps],
            "faults": [_public(fault) for fault in self.faults],
            "findings": [_public(finding) for finding in self.findings],
            "answers": [_public(answer) for answer in self.answers],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One of the four questions put to electronic evidence (EXT-10), answered for this report."""

    question_en: str
    question_zh: str
    yes: bool


def four_answers(codes: set[int]) -> list[Answer]:
    """Answer the four questions from the codes of the faults found."""
    signature, content, log, missing, record, index, other = 20, 21, 22, 24, 25, 26, 29
    asked = (
        ("Is the electronic signature valid?", "电子签名是否有效?", {signature, 23}),
        ("Can the collection be retraced?", "收集、提取过程是否可以重现?", {log, 23, record, index, other}),
        ("Is the integrity value unchanged?", "完整性校验值是否未变?", {content, missing}),
        (
            "Is the stored copy the same as the sealed original?",
            "现存数据与封存的原始数据是否一致?",
            {content, missing, log},
        ),
    )
    return [Answer(question_en=en, question_zh=zh, yes=not codes & bad) for en, zh, bad in asked]


def _public(item: Step | Fault | Finding | Answer) -> dict[str, object]:
    return {name: getattr(item, name) for name in item.__slots__}
