"""The error family of ingest."""

from vault.errors import LiuhenError


class IngestError(LiuhenError):
    """A dock session cannot go on, or one of its files failed."""

    remedy = "Run the command again; what was sealed is not copied again."


class DeviceBusyError(IngestError):
    """Another process has a dock session with this device."""

    remedy = "Wait until the other `liuhen ingest` has ended; nothing was changed."


class RereadMismatchError(IngestError):
    """The disk gave back other bytes than were written to it: this disk must not hold evidence."""

    remedy = "Leave the footage on the device. Replace the vault's disk, then run the command again."


class StoredObjectDamagedError(IngestError):
    """The vault should hold these bytes already, and does not: the device has the only good copy."""

    remedy = (
        "Leave the footage on the device. Run `liuhen verify`, move the damaged object out of the vault for examination, "
        "then run the command again: it puts the object back."
    )


class SourceOverlapsVaultError(IngestError):
    """The vault was about to take itself in: its key and its records would become footage."""

    remedy = "Name a card or a folder that neither holds the data directory nor lies in it."


class IngestIncompleteError(IngestError):
    """Some files of the device could not be sealed; all others are."""

    remedy = (
        "Look at the reason beside each failed file, mend it, and run the command again: only those files are copied."
    )
