"""Run a Lava `.net` network or a circuit in Loihi's fixed-point arithmetic, and write every block's spikes and state."""

import json
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.table import Table

from neurodeploy.cli.choices import AsJson, refuse, sample_shape
from neurodeploy.cli.console import err, out
from neurodeploy.io.errors import UserError

EXAMPLE = """neurodeploy simulate runs/demo/seed-0/bundles/lava/body.net \\
    --input runs/demo/seed-0/bundles/lava/sample.npz --array spikes/act1 --steps 6 --output runs/trace.npz"""

_PART = ("--skip-layers", "--num-layers", "--input-shape")


def command(
    ctx: typer.Context,
    network: Annotated[Path, typer.Argument(help="A `.net` or circuit file.", show_default=False)],
    samples: Annotated[
        Path,
        typer.Option("--input", help="A .npz file with the input: integers [T, B, C, H, W] or [T, B, N]; bias: no T."),
    ],
    array: Annotated[str, typer.Option(help="Which array of the file is the input.")] = "input",
    steps: Annotated[int | None, typer.Option(min=1, help="Time steps; the input's T by default.", show_default=False)] = None,
    mode: Annotated[
        Literal["spikes", "bias", "ain"], typer.Option(help="What the input is: spikes, constant bias, or added current.")
    ] = "spikes",
    reset_interval: Annotated[int | None, typer.Option(min=1, help="Steps between resets.", show_default=False)] = None,
    reset_offset: Annotated[int, typer.Option(min=0, help="Step of the first block's first reset.")] = 0,
    message_bits: Annotated[int, typer.Option(min=0, max=32, help="0: any non-zero input is one spike.")] = 0,
    skip_layers: Annotated[int, typer.Option(min=0, help="`.net`: layer of the file to begin with.")] = 0,
    num_layers: Annotated[int | None, typer.Option(min=1, help="`.net`: read only so many layers.", show_default=False)] = None,
    input_shape: Annotated[
        str | None, typer.Option(help="C,H,W of a sample where the input file has another form.", show_default=False)
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A .npz file for s, u, v.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    import numpy as np

    from neurodeploy.io.arrays import NamedArrays
    from neurodeploy.io.files import atomic_file
    from neurodeploy_exporters.lava import is_circuit, read, read_circuit, simulate, simulate_circuit
    from neurodeploy_exporters.lava.sigmadelta import are_graded, counted

    if reset_interval is None:
        refuse(ctx, ("reset_offset",), "belongs to --reset-interval")
    shape = sample_shape(input_shape)
    part: dict[str, Any] = {"skip_layers": skip_layers, "num_layers": num_layers, "input_shape": shape}
    circuit = is_circuit(network)
    if circuit and (skip_layers, num_layers, shape) != (0, None, None):
        raise UserError(f"{network}: a circuit, which tells its shape and runs whole; leave out {', '.join(_PART)}")
    if circuit:
        found = read_circuit(network)
        run = partial(simulate_circuit, found)
    else:
        layers = read(network, num_layers=num_layers)
        run = partial(simulate, layers, **part)
    arrays = NamedArrays(samples)
    if array not in arrays:
        raise UserError(
            f"{samples}: array `{array}` is missing; it holds {', '.join(arrays) or 'none'}; choose one with --array"
        )
    values = arrays[array]
    if not values.ndim:
        raise UserError(f"{samples}: array `{array}` is a single number, samples [T, B, …] expected")
    if mode == "bias" and steps is None:
        raise UserError("--steps: needed with --mode bias, whose input has no time axis")
    recorded = run(
        values,
        steps if steps is not None else len(values),
        mode=mode,
        reset_interval=reset_interval,
        reset_offset=reset_offset,
        input_message_bits=message_bits,
    )
    blocks = {key.removesuffix("_s"): spikes for key, spikes in recorded.items() if key.endswith("_s")}
    if not circuit:
        whole = (
            layers if (skip_layers, num_layers) == (0, None) else layers.part(skip_layers=skip_layers, num_layers=num_layers)
        )
        found = whole.circuit(input_shape=whole.input_shape or shape or values.shape[1 if mode == "bias" else 2 :])
    counts = {key: numbers for key, *numbers in counted(found, blocks, values if mode == "bias" else values[:steps])}
    if as_json:
        document = {
            key: {
                "shape": spikes.shape[2:],
                "spikes": counts[key][0],
                "rate": counts[key][0] / spikes.size,
                "synaptic_operations": counts[key][1],
                "dense_products": counts[key][2],
            }
            for key, spikes in blocks.items()
        }
        out.print_json(json.dumps({"network": str(network), "steps": len(next(iter(recorded.values()))), "blocks": document}))
    graded = are_graded(found.populations)
    table = Table("block", "shape", "messages" if graded else "spikes", "rate", "synaptic\noperations", "dense\nproducts")
    for column in table.columns[2:]:
        column.justify = "right"
    for key, spikes in blocks.items():
        sent, *operations = counts[key]
        numbers = (f"{sent:,}", f"{100 * sent / spikes.size:.2f} %", *(f"{number:,}" for number in operations))
        table.add_row(key, "x".join(map(str, spikes.shape[2:])), *numbers)
    if not as_json:
        out.print(table)
    if output is not None:
        with atomic_file(output) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **recorded)
        (err if as_json else out).print(f"{output}: {len(recorded)} arrays written")
