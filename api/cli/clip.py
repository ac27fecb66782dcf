"""`liuhen clip`: look at sealed recordings, take them out, prove them."""

from pathlib import Path
from typing import Annotated, get_args

import typer

from api import damage, present
from api.cli import shapes
from api.cli.invocation import (
    Invocation,
    command,
    output_file,
)
from api.cli.verify import show as show_report
from api.errors import UsageError
from vault.model import Clip, MediaType
from vault.verification.clipcheck import verify_clip

PURPOSE = "not stated (command line)"  # recorded as given; a purpose is never invented
READ_BYTES = 1 << 20

app = typer.Typer(help="Sealed recordings.")
ClipArgument = Annotated[str, typer.Argument(metavar="CLIP", help="sha256:<64 hex>, or its first characters.")]
OutputOption = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="File to write.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace FILE if it exists.")]
PurposeOption = Annotated[
    str, typer.Option("--purpose", metavar="TEXT", help="Why the bytes are taken out; it is logged before they are.")
]


@command(app, "list")
def list_clips(
    invocation: Invocation,
    *,
    text: Annotated[str, typer.Option(help="Only names or digests that contain TEXT.")] = "",
    media: Annotated[str | None, typer.Option(help="Only video, audio, image, document or other.")] = None,
    case: Annotated[str | None, typer.Option(metavar="NUMBER", help="Only clips of this case.")] = None,
    damaged: Annotated[bool, typer.Option("--damaged", help="Only damaged clips.")] = False,
    unlinked: Annotated[bool, typer.Option("--unlinked", help="Only clips of no case.")] = False,
) -> None:
    """List sealed clips, the newest recording first."""
    if media is not None and media not in get_args(MediaType):
        raise UsageError(f"--media {media!r}: not one of {', '.join(get_args(MediaType))}")
    with invocation.vault() as vault:
        catalogue = vault.catalogue
        clips = catalogue.clips(
            text=text,
            media=media,
            condition="damaged" if damaged else None,
            case=None if case is None else catalogue.find_case(case).id,
            unlinked=unlinked,
            limit=1 << 30,
        )
    if invocation.json:
        for clip in clips:
            invocation.document(shapes.clip(clip))
        return
    whole = not invocation.out.is_terminal
    invocation.table(
        ("clip", "name", "bytes", "media", "duration", "condition", "started", "index"),
        [_row(clip, whole=whole) for clip in clips],
        wide=("bytes", "media", "duration", "index"),
    )


def _row(clip: Clip, *, whole: bool) -> tuple[str, ...]:
    return (
        str(clip.id) if whole else present.short(clip.id, 12),
        clip.name,
        str(clip.size),
        clip.media,
        present.duration(clip.duration_s),
        clip.condition,
        present.moment(clip.started_at),
        str(clip.sealed_index),
    )


@command(app, "show")
def show(invocation: Invocation, *, clip: ClipArgument) -> None:
    """Show one clip: its seal, what is in it, how it came in, its cases."""
    with invocation.vault() as vault:
        found = vault.catalogue.find_clip(clip)
        acquisitions = vault.catalogue.acquisitions(found.id)
        links = vault.catalogue.links(clip=found.id)
        numbers = {link.case: vault.catalogue.case(link.case).number for link in links}
    if invocation.json:
        document = shapes.clip_details(found)
        document["acquisitions"] = [shapes.acquisition(item) for item in acquisitions]
        document["links"] = [{**shapes.link(item), "number": numbers[item.case]} for item in links]
        invocation.document(document)
        return
    say = invocation.say
    reason = str(found.facts.get("reason", "")) if found.condition == "damaged" else ""
    invocation.pairs(
        [
            ("clip", str(found.id)),
            *([("sm3", str(found.sm3))] if found.sm3 else []),
            ("name", found.name),
            ("bytes", f"{found.size} ({present.size(found.size)})"),
            ("media", say.known(f"media.{found.media}", found.media)),
            ("condition", say.known(f"condition.{found.condition}", found.condition)),
            *([("reason", damage.in_words(reason, say.language))] if reason else []),
            ("started", present.moment(found.started_at)),
            ("duration", present.duration(found.duration_s)),
            ("sealed", present.moment(found.sealed_at)),
            ("index", str(found.sealed_index)),
            *(("device", f"{a.device} {a.path} ({a.outcome}, {a.index})") for a in acquisitions),
            *(("case", f"{numbers[link.case]} ({link.index})") for link in links),
        ]
    )


@command(app, "get")
def get(
    invocation: Invocation,
    *,
    clip: ClipArgument,
    output: OutputOption,
    purpose: PurposeOption = PURPOSE,
    force: ForceOption = False,
) -> None:
    """Write the original, byte for byte. Every byte is checked against the seal on the way out."""
    with invocation.vault() as vault, output_file(output, force=force) as file:
        found = vault.catalogue.find_clip(clip)
        # I6: who asks and why is durable before the first byte leaves.
        receipt = vault.record_export(invocation.actor(vault), [found.id], "original", purpose)[0]
        with vault.read(found.id) as reader:
            for offset in range(0, found.size, READ_BYTES):
                file.write(reader.read(offset, min(READ_BYTES, found.size - offset)))
    if invocation.json:
        invocation.document({"clip": str(found.id), "file": str(output), "bytes": found.size, "index": receipt.index})
    else:
        invocation.line(invocation.say("clip.written", path=output, bytes=found.size, clip=found.id))


@command(app, "proof")
def proof(invocation: Invocation, *, clip: ClipArgument, output: OutputOption, force: ForceOption = False) -> None:
    """Write the proof that the clip's seal is in the signed log (C2SP tlog-proof)."""
    with invocation.vault() as vault, output_file(output, force=force) as file:
        found = vault.catalogue.find_clip(clip)
        file.write(vault.proof(found.sealed_index))
    if invocation.json:
        invocation.document({"clip": str(found.id), "file": str(output), "index": found.sealed_index})
    else:
        invocation.line(invocation.say("clip.proof", path=output, index=found.sealed_index))


@command(app, "verify")
def verify(invocation: Invocation, *, clip: ClipArgument) -> int:
    """Prove one clip from the bytes: signature, its whole chain of entries, records, the original."""
    with invocation.vault() as vault:
        report = verify_clip(vault, vault.catalogue.find_clip(clip).id)
    show_report(invocation, report)
    return report.exit_code


@command(app, "history")
def history(invocation: Invocation, *, clip: ClipArgument) -> None:
    """List every log entry about the clip, oldest first: sealed, linked, viewed, exported."""
    with invocation.vault() as vault:
        found = vault.catalogue.find_clip(clip)
        items = vault.history(str(found.id))
        people = {item.entry.statement.actor_id for item in items}
        names = {person: vault.catalogue.person_name(person) for person in people}
    if invocation.json:
        for item in items:
            invocation.document(shapes.history_item(item))
        return
    invocation.table(
        ("index", "time", "type", "actor", "detail"),
        [
            (
                str(item.index),
                present.moment(present.from_ms(item.entry.time_ms)),
                item.entry.statement.type,
                f"{names[item.entry.statement.actor_id]} ({item.entry.statement.actor_role})",
                str(item.private.get("purpose") or item.private.get("reason") or item.private.get("path") or ""),
            )
            for item in items
        ],
    )
