"""Passes NIR files between this toolkit and the tools that read and write NIR, both ways, and compares every spike.

    python -m checks.nir_frameworks

Writes `docs/nir.md`. Each tool has an environment of its own (`make nir-frameworks` makes them): they ask for different
versions of NIR's package. Exit code 1 if a failure is explained neither by the rules of `neurodeploy_exporters.nir.readers` nor
in `checks/nir/limits.py`, or a rule or explanation says that something fails which does not.
"""

import argparse
import gzip
import sys
import tempfile
from pathlib import Path

from checks.nir.cases import cases
from checks.nir.measuring import made_by, ours_of_theirs, theirs_of_ours, versions
from checks.nir.page import BY_NIRTORCH, INSTALLED, page, unexplained
from neurodeploy_exporters.nir.readers import READERS

WRITERS = ("spikingjelly", "snntorch", "norse", "sinabs", "spyx")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environments", default=".venv-nir-", help="where they are, without the framework's name at the end")
    parser.add_argument("--output", type=Path, default=Path("docs/nir.md"), help="the page to write")
    parser.add_argument("--keep", type=Path, help="folder for the files that the frameworks wrote, compressed")
    return parser.parse_args()


def main() -> int:
    options, ours, theirs, environments = arguments(), {}, {}, {}
    networks = cases()
    with tempfile.TemporaryDirectory(prefix="nir.") as name:
        for reader in INSTALLED:
            python = Path(f"{options.environments}{reader}").absolute() / "bin" / "python"
            environments[reader] = versions(python, [reader, "nir", *(["nirtorch"] if reader in BY_NIRTORCH else [])])
            for dialect in dict.fromkeys((READERS[reader].dialect, "nir")):
                ours[reader, dialect] = theirs_of_ours(reader, dialect, python, networks, Path(name))
            if reader in WRITERS:
                folder = made_by(reader, python, Path(name))
                theirs[reader] = ours_of_theirs(reader, folder)
                if options.keep is not None:
                    _keep(folder, options.keep, reader)
    options.output.write_text(page(environments, networks, ours, theirs), encoding="utf-8")
    faults = unexplained(networks, ours, theirs)
    for fault in faults:
        print(fault, file=sys.stderr)
    equal = sum(found.equal for results in (*ours.values(), *theirs.values()) for found in results.values())
    total = sum(map(len, (*ours.values(), *theirs.values())))
    print(f"{options.output}: {equal} of {total} equal, {len(faults)} without a sound explanation")
    return 1 if faults else 0


def _keep(folder: Path, target: Path, framework: str) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.glob("*.nir")):
        (target / f"{framework}-{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
        (target / f"{framework}-{path.stem}.npz").write_bytes(path.with_suffix(".npz").read_bytes())


if __name__ == "__main__":
    sys.exit(main())
