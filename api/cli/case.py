"""`liuhen case`: case records and the clips tied to them."""

from collections.abc import Callable
from typing import Annotated

import typer

from api import present
from api.cli import shapes
from api.cli.invocation import Invocation, command
from hardware.recorder import printable
from vault.log.sequencer import Receipt
from vault.model import Actor, CaseId, CaseRecord, Clip, Digest
from vault.vault import Vault

Act = Callable[[Vault, Actor, Digest, CaseId, str], Receipt]  # tie a clip to a case, or undo that

app = typer.Typer(help="Case records (案卷) and the clips tied to them.")
CaseArgument = Annotated[str, typer.Argument(metavar="CASE", help="Case number (案号) or id.")]
ClipsArgument = Annotated[list[str], typer.Argument(metavar="CLIP...", help="sha256:<64 hex>, or first characters.")]


@command(app, "new")
def new(
    invocation: Invocation,
    *,
    number: Annotated[str, typer.Argument(metavar="NUMBER", help="Case number (案号), unique.")],
    title: Annotated[str, typer.Option(help="Cause of the case (案由).")],
    target: Annotated[str, typer.Option(help="Target of enforcement (执法对象).")] = "",
    category: Annotated[str, typer.Option(help="Category of enforcement (执法类别).")] = "",
) -> None:
    """Open a case record."""
    with invocation.vault() as vault:
        actor = invocation.actor(vault)
        record = vault.open_case(actor, number=number, title=title, target=target, category=category)
    if invocation.json:
        invocation.document(shapes.case(record))
    else:
        invocation.line(invocation.say("case.opened", number=record.number, index=record.opened_index))


@command(app, "list")
def list_cases(invocation: Invocation) -> None:
    """List cases, newest first."""
    with invocation.vault() as vault:
        cases = [(case, vault.catalogue.count_clips(case=case.id)) for case in vault.catalogue.cases()]
    if invocation.json:
        for case, count in cases:
            invocation.document({**shapes.case(case), "clips": count})
        return
    invocation.table(
        ("number", "title", "target", "category", "clips", "index"),
        [(c.number, c.title, c.target, c.category, str(count), str(c.opened_index)) for c, count in cases],
    )


@command(app, "show")
def show(invocation: Invocation, *, case: CaseArgument) -> None:
    """Show one case and its clips."""
    with invocation.vault() as vault:
        record = vault.catalogue.find_case(case)
        links = vault.catalogue.links(case=record.id)
        clips = {link.clip: vault.catalogue.clip(link.clip) for link in links}
    if invocation.json:
        document = shapes.case(record)
        document["clips"] = [{**shapes.clip(clips[link.clip]), "link": shapes.link(link)} for link in links]
        invocation.document(document)
        return
    invocation.pairs(
        [
            ("number", record.number),
            ("title", record.title),
            ("target", record.target),
            ("category", record.category),
            ("time", present.moment(record.opened_at)),
            ("index", str(record.opened_index)),
        ]
    )
    invocation.table(
        ("clip", "name", "bytes", "started", "index"),
        [
            (
                clip.id.hex[:12],
                clip.name,
                present.size(clip.size),
                present.moment(clip.started_at),
                str(link.index),
            )
            for link in links
            for clip in (clips[link.clip],)
        ],
    )


@command(app, "link")
def link(
    invocation: Invocation,
    *,
    case: CaseArgument,
    clips: ClipsArgument,
    reason: Annotated[str, typer.Option(help="Why they belong together.")] = "",
) -> None:
    """Tie clips to a case; each link is a log entry."""
    _each(invocation, Vault.link, case, clips, reason=reason, word="case.linked")


@command(app, "unlink")
def unlink(
    invocation: Invocation,
    *,
    case: CaseArgument,
    clips: ClipsArgument,
    reason: Annotated[str, typer.Option(help="Why the link was wrong; it is kept.")],
) -> None:
    """Undo links; the old entries stay, new ones say why."""
    _each(invocation, Vault.unlink, case, clips, reason=reason, word="case.unlinked")


def _each(invocation: Invocation, act: Act, case: str, clips: list[str], *, reason: str, word: str) -> None:
    """Do the same to every clip, each once; nothing is done when one of the names fits no clip."""
    with invocation.vault() as vault:
        record = vault.catalogue.find_case(case)
        found = {clip.id: clip for clip in map(vault.catalogue.find_clip, clips)}
        actor = invocation.actor(vault)
        for clip in found.values():
            receipt = act(vault, actor, clip.id, record.id, reason)
            _tell(invocation, word, clip, record, receipt.index)


def _tell(invocation: Invocation, word: str, clip: Clip, record: CaseRecord, index: int) -> None:
    if invocation.json:
        invocation.document({"clip": str(clip.id), "case": record.id, "number": record.number, "index": index})
    else:
        invocation.line(invocation.say(word, name=printable(clip.name), number=record.number, index=index))
