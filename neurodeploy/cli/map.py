"""What a network takes on a chip: cores, axons and synapse memory of a Loihi, or instructions, flash and RAM of a
microcontroller; exit code 1 if it does not fit."""

from io import BytesIO
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.box import SIMPLE
from rich.table import Table

from neurodeploy.cli.choices import AsJson, Output, sample_shape
from neurodeploy.cli.console import err, out, print_json
from neurodeploy.io.errors import Failure

_NUMBERS = ("cores", "neurons", "in\naxons", "out\naxons", "memory,\nKiB")
_KIB = 8192  # bits
EXAMPLE = "neurodeploy map runs/demo/seed-0/bundles/lava --chip loihi1 --output runs/map"


def command(
    network: Annotated[
        Path, typer.Argument(help="A Lava or C bundle's folder, or a `.net` or `.circuit` file.", show_default=False)
    ],
    chip: Annotated[
        Literal["loihi1", "loihi2", "cortex-m4", "cortex-m7", "cortex-m0", "rp2040"] | None,
        typer.Option(
            help="loihi1 if not given, cortex-m4 for a C bundle. Loihi 2's limits are known only in part; a microcontroller is "
            "a part that stands for its core, and says which.",
            show_default=False,
        ),
    ] = None,
    chips: Annotated[
        int | None, typer.Option(min=1, help="How many chips there are; those of the largest board if not given.")
    ] = None,
    input_shape: Annotated[
        str | None,
        typer.Option(help="C,H,W of a sample, if a `.net` file does not tell; the smallest if not given.", show_default=False),
    ] = None,
    num_layers: Annotated[int | None, typer.Option(min=1, help="`.net`: read only so many layers.", show_default=False)] = None,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    from neurodeploy.app.ready import located
    from neurodeploy_exporters.c.mapping import CHIPS

    network = Path(located(network, err.print))
    if chip in CHIPS or (chip is None and _is_of_c(network)):
        _microcontroller(network, chip or CHIPS[0], chips, output, as_json=as_json)
        return
    _loihi(network, chip or "loihi1", chips, input_shape, num_layers, output, as_json=as_json)


def _is_of_c(network: Path) -> bool:
    from neurodeploy_exporters.bundle import MANIFEST, read_bundle

    return (network / MANIFEST).is_file() and read_bundle(network).manifest.target == "c"


def _microcontroller(network: Path, chip: str, chips: int | None, output: Path | None, *, as_json: bool) -> None:
    from neurodeploy.io.errors import UserError
    from neurodeploy.io.files import write_text
    from neurodeploy_exporters.bundle import read_bundle
    from neurodeploy_exporters.c.mapping import map_bundle, microcontroller
    from neurodeploy_exporters.c.mapping_text import as_json as document
    from neurodeploy_exporters.c.mapping_text import lines, table_rows

    if not _is_of_c(network):
        raise UserError(f"{network}: a C bundle expected for a microcontroller; export with --target c")
    if chips is not None:
        raise UserError(f"--chips: {chips} found, and a network is on one microcontroller; leave it out")
    mapping = map_bundle(read_bundle(network), microcontroller(chip))
    if output is not None:
        write_text(output / "map.json", document(mapping, str(network)))
    if as_json:
        typer.echo(document(mapping, str(network)), nl=False)
    else:
        head, *rows = table_rows(mapping)
        table = Table(*head, box=SIMPLE, padding=0)
        for column in table.columns[1:]:
            column.justify = "right"
        for row in rows:
            table.add_row(*row)
        out.print(mapping.chip.title)
        out.print(table)
        for line in lines(mapping):
            out.print(line)
    if mapping.verdict == "does not fit":
        raise Failure(f"{network}: does not fit on {mapping.chip.title}: {mapping.faults[0]}")


def _loihi(
    network: Path,
    chip: str,
    chips: int | None,
    input_shape: str | None,
    num_layers: int | None,
    output: Path | None,
    *,
    as_json: bool,
) -> None:
    from neurodeploy.io.files import atomic_file, write_text
    from neurodeploy_exporters.lava.mapping import load, map_circuit
    from neurodeploy_exporters.lava.mapping.result import WORDS, faults, percent, summary
    from neurodeploy_exporters.lava.mapping.result import as_json as document
    from neurodeploy_exporters.lava.reading import open_circuit

    circuit = open_circuit(network, input_shape=sample_shape(input_shape), num_layers=num_layers)
    mapping = map_circuit(circuit, load(chip), chips=chips)
    if output is not None:
        from neurodeploy_exporters.lava.mapping.picture import picture  # matplotlib, which nothing else here needs

        write_text(output / "map.json", document(mapping, str(network)))
        memory = BytesIO()
        picture(mapping).savefig(memory, format="png", dpi=120, bbox_inches="tight")
        with atomic_file(output / "map.png") as temporary:
            temporary.write_bytes(memory.getvalue())
    if as_json:
        print_json(document(mapping, str(network)))
    else:
        table = Table("population", "shape", *_NUMBERS, "fullest", box=SIMPLE, padding=0)  # fits a terminal of 80 columns
        for column in table.columns[2:-1]:
            column.justify = "right"
        for population in mapping.placed:
            resource, share = population.fullest(mapping.chip)
            table.add_row(
                population.key,
                _shape(population.shape),
                f"{len(population.cores):,}",
                *(f"{population.largest(resource):,}" for resource in ("neurons", "input_axons", "output_axons")),
                f"{population.largest('synapse_bits') / _KIB:,.1f}",
                f"{WORDS[resource]}, {percent(share)}",
            )
        for unplaced in mapping.unplaced:
            table.add_row(
                unplaced.key, _shape(unplaced.shape), *["-"] * len(_NUMBERS), f"{WORDS[unplaced.resource]}, too small"
            )
        out.print(f"{mapping.chip.title}: the largest numbers of any core of a population")
        out.print(table)
        for line in summary(mapping):
            out.print(line)
        for fault in faults(mapping):
            out.print(f"does not fit: {fault}")
        if output is not None:
            out.print(f"{output}: map.json and map.png written")
    if mapping.verdict == "does not fit":
        first, *others = faults(mapping)
        more = f"; and {len(others)} more, listed above" if others else ""
        raise Failure(f"{network}: does not fit on {mapping.chip.title}: {first}{more}")


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
