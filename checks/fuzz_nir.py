"""Damages NIR files in thousands of ways and looks at what becomes of each: it must be shown, read, run and written again, or
refused in one line that names the file, within limits of time and memory.

    python -m checks.fuzz_nir --seed 0 --files 10000

The sound files are those of the tests, which five frameworks wrote, and ours in every dialect. The rest is as in
`checks.fuzz_net`. Linux only.
"""

import argparse
import gzip
import json
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
from rich.console import Console

from checks.fuzz_net import fuzz
from checks.fuzzing.trial import Outcome, fault_of
from checks.fuzzing.worker import Limits
from checks.nir.cases import cases
from neurodeploy.app.nir_file import write_again
from neurodeploy.graph import Graph, interpreter
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.nir import CONVENTIONS, DIALECTS, read, read_with_conventions, summary, write

FILES = Path(__file__).parents[1] / "tests" / "exporters" / "nir" / "files"
_STEPS = 3
_LARGEST = 1 << 20  # values of all tensors of a step that are run here
_CHOICES = (None, *CONVENTIONS, "sinabs:norm_input=false,spike_fn=SingleSpike,min_v_mem=-1", "snntorch:reset_mechanism=zero")


def sound_files(work: Path) -> list[bytes]:
    """Contents of files to damage."""
    found = [gzip.decompress(path.read_bytes()) for path in sorted(FILES.glob("*.nir.gz"))]
    networks = cases()
    for number, dialect in enumerate(DIALECTS):
        for name in list(networks)[number::4]:
            write(networks[name].graph, work / "seed.nir", dialect=dialect)
            found.append((work / "seed.nir").read_bytes())
    return found


def try_nir(path: Path, random: Random) -> Outcome:
    """Show a file, read it under some convention, run it, write it again in some dialect, and read that."""
    stage, again = "show", path.with_name("again.nir")
    convention = random.choice(_CHOICES)
    dialect = random.choice(list(DIALECTS))
    try:
        found = summary(path)
        _ = str(found), json.dumps(found.as_document())
        if not str(found).replace("\n", "").isprintable():
            return Outcome("defect", "show: text that a terminal may take for a command")
        stage = "read"
        graph = read_with_conventions(path, convention=convention).graph
        stage = "run"
        _run(graph, random)
        stage = "write"
        write_again(graph, dialect, again)
        stage = "read again"
        read(again)
    except UserError as error:
        fault = fault_of(error, path if stage in ("show", "read") else None)
        if fault or stage == "read again":
            return Outcome("defect", f"{stage}: {fault or 'what was written is refused'}: {error!s:.2000}")
        return Outcome("refused" if stage in ("show", "read") else "refused later", str(error))
    except BaseException:  # whatever else it is, is what is looked for
        return Outcome("defect", f"{stage}, {convention}, {dialect}: {traceback.format_exc()}")
    return Outcome("run")


def _run(graph: Graph, random: Random) -> None:
    if sum(int(np.prod(graph.shape(node.name))) for node in graph.nodes) > _LARGEST:
        return
    shape = (_STEPS, 1, *graph.input.shape) if graph.input.timed else (1, *graph.input.shape)
    spikes = np.random.default_rng(random.getrandbits(32)).random(shape) < 0.5
    with np.errstate(all="ignore"):
        interpreter.run(graph, spikes.astype(np.float32), **({} if graph.input.timed else {"steps": _STEPS}))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of the damage")
    parser.add_argument("--files", type=int, default=10_000, help="how many to try")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="try this one file")
    parser.add_argument("--keep", type=Path, default=Path("runs/fuzz-nir"), help="folder for files that show a defect")
    options = parser.parse_args()
    numbers = range(options.files) if options.only is None else range(options.only, options.only + 1)
    with tempfile.TemporaryDirectory(prefix="fuzz-nir.") as name:
        work = Path(name)
        seeds = sound_files(work)
        console = Console(stderr=True)
        found = fuzz(seeds, options.seed, numbers, work, Limits(), options.keep, console, try_nir, "nir")
    counts = Counter(result.outcome.kind for result in found)
    parts = ", ".join(f"{count:,} {kind}" for kind, count in sorted(counts.items()))
    most = max((result.megabytes for result in found), default=0.0)
    print(f"{len(found):,} NIR files from {len(seeds)} sound ones, seed {options.seed}: {parts}; at most {most:,.0f} MB each")
    return 1 if counts["defect"] else 0


if __name__ == "__main__":
    sys.exit(main())
