"""The error family of the people-facing edge: configuration, command line, pages.

Exit statuses are stable and listed in docs/manual.md: 0 all holds, 1 anything else, 2 usage or configuration,
20-29 an integrity fault, 130 interrupted, 141 the reader of our output went away.
"""

from vault.errors import LiuhenError

INTERRUPTED = 130  # 128 + SIGINT, as shells report it
BROKEN_PIPE = 141  # 128 + SIGPIPE


class ApiError(LiuhenError):
    """Something the command line or the pages refuse or cannot do."""

    remedy = "Run the command with --help; it names what is expected."


class ConfigError(ApiError):
    """A setting is unknown, malformed or out of range."""

    exit_code = 2
    remedy = "Run `liuhen config` without that setting: it lists every key, its meaning and where its value came from."


class UsageError(ApiError):
    """The words of the command do not fit together."""

    exit_code = 2
    remedy = "Run the command with --help; it names what is expected."


class OutputExistsError(ApiError):
    """A file to be written is already there; it may be somebody's evidence copy."""

    exit_code = 2
    remedy = "Name another file with -o, or say --force to replace it."


class OutputError(ApiError):
    """A file to be written for the caller could not be written."""

    remedy = "Name a writable place with enough room with -o, then run the command again."


class ListenError(ApiError):
    """The address to serve on is taken, or not ours to take."""

    remedy = "Another program, perhaps another `liuhen serve`, listens there. Stop it or choose another port: --port N (or `make run PORT=N`)."


class NetworkFileSystemError(ApiError):
    """The data directory is on a network file system, where locks and fsync do not hold."""

    remedy = "Put the data directory on a local disk (ext4, xfs, btrfs, zfs); copies may go to the network."
