"""The error families of Liuhen: every error says the fault, the object and the remedy.

`LiuhenError` is the shape shared by vault, ingest, transcode and api; `hardware`, which knows nothing of the
vault, keeps a family of the same shape. Exit statuses are stable: 1 anything, 2 usage, 20-29 an integrity fault.
"""

from typing import ClassVar


class LiuhenError(Exception):
    """An error a person can act on: one line of what went wrong with which object, and the remedy."""

    exit_code: ClassVar[int] = 1
    remedy: ClassVar[str]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not getattr(cls, "remedy", ""):
            raise TypeError(f"{cls.__name__} names no remedy")


class VaultError(LiuhenError):
    """Something the vault refuses or cannot do."""

    remedy = "Run `liuhen doctor`; it names what is wrong with the data directory."


class VaultMissingError(VaultError):
    """There is no vault where one was looked for; opening never creates one."""

    remedy = "Name the data directory with --data DIR or LIUHEN_DATA, or create a vault with `liuhen init`."


class VaultExistsError(VaultError):
    """`init` was asked to create a vault where something already stands."""

    remedy = "Use the vault that is there, or name an empty directory with --data DIR."


class VaultBusyError(VaultError):
    """The whole vault is needed alone (rebuild), or somebody else has it alone."""

    remedy = "Stop `liuhen serve` and every other liuhen command on this data directory, then repeat."


class NotFoundError(VaultError):
    """No such clip, case, entry or device."""

    remedy = "List what there is: `liuhen clip list`, `liuhen case list`, `liuhen device list`."


class AmbiguousError(VaultError):
    """A shortened identity fits more than one object."""

    exit_code = 2
    remedy = "Give more characters of the digest or the full case number."


class ConflictError(VaultError):
    """The act contradicts what is already recorded (linked twice, closed case, same id with other content)."""

    remedy = "Look at what is recorded with `liuhen clip show` or `liuhen case show`, then repeat the act if it is still meant."


class StorageError(VaultError):
    """The disk refused: full, read-only, failing. After a failed fsync the process must stop, never retry."""

    remedy = "Free space or replace the disk, then start again; nothing that was acknowledged is lost."


class AppendOnlyViolationError(VaultError):
    """A file that must never change was about to be written with other content."""

    remedy = "Do not retry. Preserve the disk and run `liuhen verify`."


class IntegrityError(VaultError):
    """Base of the faults for which `verify` and every reader exit with 20-29."""

    exit_code = 29
    remedy = "Do not write to this vault. Preserve the disk, run `liuhen verify`, restore from a replica."


class CheckpointInvalidError(IntegrityError):
    """The log's checkpoint is missing, malformed, or not signed by the log's key."""

    exit_code = 20


class FixityMismatchError(IntegrityError):
    """Stored bytes no longer match the digest sealed in the log."""

    exit_code = 21


class EntryInvalidError(IntegrityError):
    """An entry was changed, dropped, reordered or inserted: the log's bytes do not lead to its signed root."""

    exit_code = 22


class LogForkError(IntegrityError):
    """Two checkpoints of this log contradict each other, or the log is older than one already signed."""

    exit_code = 23
    remedy = "Do not write to this vault. Keep both checkpoints: together they prove the fork. Restore the newer state."


class ObjectMissingError(IntegrityError):
    """A sealed original is not in the object store."""

    exit_code = 24


class RecordMismatchError(IntegrityError):
    """A record does not open the commitment that the log holds."""

    exit_code = 25


class CatalogueMismatchError(IntegrityError):
    """The catalogue shows something else than the log says."""

    exit_code = 26
    remedy = "The log is the truth. Run `liuhen rebuild`, then `liuhen verify`."
