"""The error family of `hardware`: every error says the fault, the object and the remedy.

The same shape as the family of the vault (`exit_code`, a required `remedy`), kept apart because drivers know nothing
of the vault.
"""

from typing import ClassVar, Literal


class HardwareError(Exception):
    """A fault of a device or of a confined worker: one line of what went wrong with which object, and the remedy."""

    exit_code: ClassVar[int] = 1
    remedy: ClassVar[str]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not getattr(cls, "remedy", ""):
            raise TypeError(f"{cls.__name__} names no remedy")


class VolumeUnusableError(HardwareError):
    """The path is not a directory that can be listed."""

    exit_code = 2
    remedy = "Name a directory or a mounted card that this account may read."


class DeviceGoneError(HardwareError):
    """The device or volume is no longer the one that was identified; nothing listed after that moment is believed."""

    remedy = "Unplug the device, plug it in again and repeat the command; what was sealed is not copied again."


class DeviceReadError(HardwareError):
    """The device refused to give bytes of one file."""

    remedy = "Run the command again; if the same place fails again, keep the card, do not erase it, and image it with ddrescue."

    def __init__(self, path: str, offset: int, reason: str) -> None:
        super().__init__(f"{path!r}: cannot read at byte {offset}: {reason}")
        self.path = path
        self.offset = offset
        self.reason = reason


class ItemChangedError(HardwareError):
    """A file is no longer the one of the inventory: it was written to while it was being copied."""

    remedy = "Stop the recording on the device, wait until it has closed the file, and run the command again."

    def __init__(self, path: str, change: str) -> None:
        super().__init__(f"{path!r} changed while it was being read: {change}")
        self.path = path
        self.change = change


class EraseRefusedError(HardwareError):
    """The recorder is open for reading only, or the file is not the one that was sealed."""

    remedy = "Leave the file where it is; only a dock session whose policy allows erasing may remove it."


class SandboxError(HardwareError):
    """Base of the faults of a confined worker."""

    remedy = "The file that the worker was reading may be hostile or broken; its bytes are safe. Try again or leave it."


class SandboxTimeoutError(SandboxError):
    """The worker did not answer within its deadline and was killed."""

    def __init__(self, module: str, deadline_s: float, stderr: str = "") -> None:
        super().__init__(f"worker {module} gave no answer within {deadline_s:g} s")
        self.module = module
        self.deadline_s = deadline_s
        self.stderr = stderr


CrashReason = Literal["memory", "cpu", "signal", "exit", "protocol", "start", "aborted"]


class SandboxCrashedError(SandboxError):
    """The worker ended without an answer. `calls` counts the answers that this child had given before."""

    def __init__(self, module: str, reason: CrashReason, detail: str, *, calls: int = 0, stderr: str = "") -> None:
        super().__init__(f"worker {module} died ({reason}): {detail}")
        self.module = module
        self.reason = reason
        self.detail = detail
        self.calls = calls
        self.stderr = stderr


class SandboxStartError(SandboxCrashedError):
    """No child can be started: its libraries do not load, or its memory limit is too small for them."""

    remedy = "Run `make setup` again; if it persists, raise the memory limit of the workers (see `liuhen config`)."

    def __init__(self, module: str, detail: str, *, stderr: str = "") -> None:
        super().__init__(module, "start", detail, stderr=stderr)


class SandboxTaskError(SandboxError):
    """The worker is well but could not do the work; `kind` is the name of the exception it met."""

    def __init__(self, module: str, kind: str, text: str, stderr: str = "") -> None:
        super().__init__(f"worker {module}: {kind}: {text}")
        self.module = module
        self.kind = kind
        self.text = text
        self.stderr = stderr
