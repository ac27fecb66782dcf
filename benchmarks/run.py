"""Run every experiment and write RESULTS.md and plots/: `python -P -m benchmarks.run [--quick] [--scratch DIR]`.

Run it from the root of the repository. Everything is made in a scratch folder that is removed at the end.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks import exp_ingest, report
from benchmarks.harness import load, machine, run_experiment

HERE = Path(__file__).parent
NEEDED_TIMES = 4  # recording, copy, vault, and room to breathe


def main() -> None:
    """Run, and write what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small and fast, to see that it works")
    parser.add_argument("--scratch", type=Path, default=Path(".cache"), help="folder on the disk to measure")
    parser.add_argument("--out", type=Path, default=HERE, help="where RESULTS.md and plots/ go")
    chosen = parser.parse_args()
    size = exp_ingest.QUICK if chosen.quick else exp_ingest.FULL
    chosen.scratch.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(chosen.scratch).free < NEEDED_TIMES * size.recording_bytes:
        sys.exit(f"benchmarks: {chosen.scratch} has too little room; name another with --scratch DIR")
    with tempfile.TemporaryDirectory(dir=chosen.scratch, prefix="bench-") as name:
        scratch = Path(name).resolve()
        parts = [report.head(machine(scratch), load(), "python -P -m benchmarks.run" + " --quick" * chosen.quick)]
        for experiment in exp_ingest.experiments(scratch, size):
            results = run_experiment(experiment, lambda line: print(line, file=sys.stderr))
            parts.append(report.table(experiment, results))
            report.plot(experiment, results, chosen.out / "plots" / f"{report.slug(experiment)}.svg")
    (chosen.out / "RESULTS.md").write_text("\n".join(parts))


if __name__ == "__main__":
    main()
