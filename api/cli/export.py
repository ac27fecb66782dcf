"""`liuhen export`: hand footage out as a bag that anyone can check without us."""

from pathlib import Path
from typing import Annotated

import typer

from api import present
from api.cli.clip import PURPOSE, ForceOption, PurposeOption
from api.cli.invocation import Invocation, command
from api.errors import UsageError
from api.progress import Meter
from vault.errors import NotFoundError
from vault.export.writer import export as write_bag
from vault.model import CaseId, Digest
from vault.vault import Vault


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "export")(export)


def export(
    invocation: Invocation,
    *,
    what: Annotated[list[str], typer.Argument(metavar="CASE|CLIP...", help="One case, or clips, or both.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.zip", help="File to write.")],
    purpose: PurposeOption = PURPOSE,
    withhold: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD", help="Leave this personal field out of the records; proofs stay valid."),
    ] = None,
    force: ForceOption = False,
) -> None:
    """Write a BagIt bag: originals, log entries, proofs, records and a verifier that needs only Python."""
    with invocation.vault() as vault, Meter(invocation.err, shown=not invocation.json) as meter:
        case, clips = sort_out(vault, what)
        bar = meter.begin(output.name)
        done = write_bag(
            vault,
            clips,
            case,
            output,
            actor=invocation.actor(vault),
            purpose=purpose,
            withhold=withhold or (),
            overwrite=force,
            on_progress=lambda count, total: bar.update(count, total=total),
        )
    if invocation.json:
        invocation.document(
            {
                "file": str(done.path),
                "bytes": done.size,
                "clips": done.clips,
                "export": done.id,
                "entries": done.entries,
                "fingerprint": done.fingerprint,
            }
        )
        return
    say = invocation.say
    invocation.line(say("export.done", path=done.path, clips=done.clips, bytes=present.size(done.size)))
    invocation.line(say("export.fingerprint", fingerprint=done.fingerprint))
    invocation.line(say("export.check"))


def sort_out(vault: Vault, what: list[str]) -> tuple[CaseId | None, list[Digest]]:
    """Tell the case from the clips; a word that is a case number is the case."""
    cases: list[CaseId] = []
    clips: list[Digest] = []
    for text in what:
        try:
            cases.append(vault.catalogue.find_case(text).id)
        except NotFoundError:
            clips.append(vault.catalogue.find_clip(text).id)
    if len(cases) > 1:
        raise UsageError("one bag holds one case; export the others by themselves")
    return (cases[0] if cases else None), clips
