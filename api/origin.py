"""Where our packages come from. Flat names like `vault` can be shadowed; then we refuse to run (docs/adr/0001).

Imports nothing of ours: it runs before anything else is trusted.
"""

import importlib.util
from pathlib import Path

PACKAGES = ("hardware", "ingest", "vault", "transcode", "api")
REMEDY = (
    "Start the `liuhen` of its own virtual environment (or `python -P -m api.cli.main`), outside any folder that has "
    "a package of the same name, and uninstall the other distribution."
)


def foreign_package() -> str | None:
    """Return one line about a package that is missing or does not lie beside this one, else None."""
    home = Path(__file__).resolve().parent.parent
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            return f"package {name}: not found beside {home / 'api'}"
        found = Path(spec.origin).resolve().parent
        if found != home / name:
            return f"package {name}: comes from {found}, not from {home / name}"
    return None
