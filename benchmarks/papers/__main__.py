"""Take the results of training runs into docs/results/, and write docs/results.md and its pictures from
all that is there.

    python -m benchmarks.papers [runs/NAME/results.json …]

Several files of one recipe with different seeds count as one run. New results are noted with the commit that is checked out, or
with `--commit`.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from benchmarks.papers.page import page
from benchmarks.papers.papers import PAPERS
from benchmarks.papers.picture import draw
from benchmarks.papers.sections import SECTIONS
from neurodeploy.io.errors import UserError
from neurodeploy.io.files import write_text
from neurodeploy.training.results import Results, merged, read, write

DOCS = Path(__file__).parents[2] / "docs"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="*", type=Path, help="results.json of `neurodeploy train`")
    parser.add_argument("--commit", help="of the code that trained them; default: HEAD")
    given = parser.parse_args()
    commit = given.commit or _head()
    try:
        for results in by_recipe([read(path) for path in given.results]).values():
            write(DOCS / "results" / f"{results.recipe.name}.json", results.model_copy(update={"commit": commit}))
        write_text(DOCS / "results.md", text())
        draw(DOCS / "images", kept())
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)


def _head() -> str:
    done = subprocess.run(["git", "rev-parse", "--short=7", "HEAD"], cwd=DOCS, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def text() -> str:
    """The page of the results that are kept."""
    return page(PAPERS, SECTIONS, kept())


def kept() -> dict[str, Results]:
    """Recipe name → results in `docs/results/`."""
    return {path.stem: read(path) for path in sorted((DOCS / "results").glob("*.json"))}


def by_recipe(parts: list[Results]) -> dict[str, Results]:
    """Recipe name → its runs as one."""
    names = dict.fromkeys(part.recipe.name for part in parts)
    return {name: merged([part for part in parts if part.recipe.name == name]) for name in names}


if __name__ == "__main__":
    main()
