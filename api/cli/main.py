"""The entry point of `liuhen`: make sure our own packages are the ones that run, then run the command."""

import signal
import sys

from api import origin


def main() -> None:
    """Run the command line of this process and exit with its status."""
    if fault := origin.foreign_package():
        print(f"liuhen: {fault}\n  → {origin.REMEDY}", file=sys.stderr)
        sys.exit(1)
    try:
        from api.cli.app import run  # noqa: PLC0415 - nothing of ours is imported before the check above
    except ModuleNotFoundError as err:
        print(f"liuhen: {err}\n  → The environment is incomplete; run `make setup` again.", file=sys.stderr)
        sys.exit(1)
    status = run(sys.argv[1:])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command is over: a late Ctrl-C must not end in a stack
    sys.exit(status)


if __name__ == "__main__":
    main()
