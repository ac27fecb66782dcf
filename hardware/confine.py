"""The child's first steps: give up what a decoder does not need, then run the worker module.

`python -P -m hardware.confine LIMITS MODULE` is started by `hardware.sandbox` and by nothing else. Each step that the
kernel does not allow (an old kernel, a container without user namespaces) is reported, never fatal: the limits of
memory, processor time and open files hold everywhere; the rest is a second wall.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import resource
import runpy
import select
import signal
import struct
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ISOLATION_VARIABLE = "LIUHEN_SANDBOX_ISOLATION"  # how `serve` learns what was achieved, for its greeting

_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_PR_SET_NO_NEW_PRIVS = 38
_SYS_LANDLOCK_CREATE_RULESET, _SYS_LANDLOCK_ADD_RULE, _SYS_LANDLOCK_RESTRICT_SELF = 444, 445, 446
_LANDLOCK_RULE_PATH_BENEATH = 1
_LANDLOCK_WRITE_FILE = 1 << 1
# Landlock's rights that change a file system: write, remove, make (char, dir, reg, sock, fifo, block, sym), and,
# from the ABI version beside it, refer (rename across directories) and truncate.
_LANDLOCK_CHANGES = _LANDLOCK_WRITE_FILE | sum(1 << bit for bit in range(4, 13))
_LANDLOCK_LATER = ((2, 1 << 13), (3, 1 << 14))
_LANDLOCK_FILE_RIGHTS = _LANDLOCK_WRITE_FILE | 1 << 14  # those that may be granted on a file, not a directory
_CORE_FILES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the child may use. `writable` are directories; everything else is read-only to it where Landlock exists."""

    memory_bytes: int  # of address space: what RLIMIT_AS counts
    network: bool
    writable: tuple[str, ...]
    lifeline: int  # descriptor whose other end only the parent holds

    def encode(self) -> str:
        """Return the one argument that carries the limits to the child."""
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, text: str) -> Limits:
        """Read what `encode` wrote."""
        raw = json.loads(text)
        return cls(**{**raw, "writable": tuple(raw["writable"])})


def main(arguments: Sequence[str]) -> None:
    """Confine this process and run the worker module as `__main__`."""
    limits, module = Limits.decode(arguments[1]), arguments[2]
    die_with_parent(limits.lifeline)
    limit_resources(limits)
    isolation = {
        "memory_bytes": str(limits.memory_bytes),
        "network": "shared by request" if limits.network else leave_network(),
        "files": restrict_writes(limits.writable),
    }
    os.environ[ISOLATION_VARIABLE] = json.dumps(isolation)
    sys.argv = [module]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def die_with_parent(lifeline: int) -> None:
    """Have the kernel kill this whole process group as soon as the parent's end of the pipe closes.

    PR_SET_PDEATHSIG would not do: it fires when the *thread* that started the child ends, and a server's pool of
    threads ends threads all the time.
    """
    os.set_inheritable(lifeline, False)
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([lifeline], [], [], 0)[0]:  # the parent died before the signal was armed
        os._exit(1)


def limit_resources(limits: Limits) -> None:
    """Bound address space, open files and core dumps. Processor time is set per call, see `sandbox.serve`."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = _CORE_FILES if hard == resource.RLIM_INFINITY else min(_CORE_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    if not limits.writable:  # then there is no file it may ever write a byte to
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def leave_network() -> str:
    """Enter a network namespace that holds nothing, not even a loopback that is up; say what was achieved."""
    user, group = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0:
        _keep_identity(user, group)
        return "none"
    if libc.unshare(_CLONE_NEWNET) == 0:  # root in a container that forbids user namespaces
        return "none"
    return f"shared: {os.strerror(ctypes.get_errno())}"


def _keep_identity(user: int, group: int) -> None:
    """Map the own account to itself, so that `getuid` keeps telling the truth inside the new user namespace."""
    lines = (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1"))
    for name, text in lines:
        try:
            with open(f"/proc/self/{name}", "w", encoding="ascii") as stream:  # noqa: PTH123 # pathlib is slower to start
                stream.write(text)
        except OSError:  # cosmetic: files are still opened with the same kernel identity
            return


def restrict_writes(writable: Sequence[str]) -> str:
    """Make every file system read-only to this process but for `writable`; say what was achieved."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return f"as the account: {os.strerror(ctypes.get_errno())}"
    version = libc.syscall(_SYS_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    if version < 1:
        return f"as the account: {os.strerror(ctypes.get_errno() or errno.ENOSYS)}"
    rights = _LANDLOCK_CHANGES | sum(right for since, right in _LANDLOCK_LATER if version >= since)
    attributes = ctypes.create_string_buffer(struct.pack("=Q", rights), 8)
    ruleset = libc.syscall(_SYS_LANDLOCK_CREATE_RULESET, attributes, ctypes.c_size_t(8), ctypes.c_uint32(0))
    if ruleset < 0:
        return f"as the account: {os.strerror(ctypes.get_errno())}"
    try:
        for path in writable:
            _allow(libc, ruleset, path, rights)
        _allow(libc, ruleset, os.devnull, rights & _LANDLOCK_FILE_RIGHTS)
        if libc.syscall(_SYS_LANDLOCK_RESTRICT_SELF, ruleset, ctypes.c_uint32(0)) != 0:
            return f"as the account: {os.strerror(ctypes.get_errno())}"
    finally:
        os.close(ruleset)
    return "read-only" if not writable else "read-only but for its own directories"


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, rights: int) -> None:
    target = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, target), 12)
        libc.syscall(_SYS_LANDLOCK_ADD_RULE, ruleset, _LANDLOCK_RULE_PATH_BENEATH, rule, ctypes.c_uint32(0))
    finally:
        os.close(target)


if __name__ == "__main__":
    main(sys.argv)
