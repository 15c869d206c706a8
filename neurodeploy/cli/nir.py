"""Look into a NIR file: what is in it, what is assumed on reading it, what each tool would make of it; run it, compare it with
a recording, or write it in another tool's dialect."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from neurodeploy.cli.choices import AsJson, Convention, InputShape, NirReset, Steps, TimeStep, nir_choices, refuse
from neurodeploy.cli.console import err, out
from neurodeploy.io.errors import Failure, UserError

EXAMPLE = "neurodeploy nir net.nir --written-by sinabs:min_v_mem=-1 --input events.npy --expected spikes.npy"


def command(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="A NIR file.", show_default=False)],
    convention: Convention = None,
    dt: TimeStep = None,
    reset: NirReset = None,
    input_shape: InputShape = None,
    inputs: Annotated[
        Path | None,
        typer.Option(
            "--input", help="Run it on samples [N, T, …], or [N, …] with --steps, in a .npy file.", show_default=False
        ),
    ] = None,
    steps: Steps = None,
    expected: Annotated[
        Path | None,
        typer.Option(
            "--expected",
            help="What its writer computed on them: output [N, T, …] in a .npy file, or layers by name in a .npz file.",
            show_default=False,
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            help="Write it in a dialect: nir, norse, spikingjelly, snn-mlir, spyx, nir2fpga or sinabs.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", help="The file that --to writes.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    from neurodeploy.app.nir_file import run_on, write_again
    from neurodeploy_exporters.nir import summary
    from neurodeploy_exporters.nir.dialects import dialect_named

    if inputs is None:
        refuse(ctx, ("steps", "expected"), "belongs to --input")
    if (to is None) != (output is None):
        raise UserError("--to, --output: one without the other; give the dialect and the file to write")
    if to is not None:
        dialect_named(to)
    choices = nir_choices(convention, dt, reset, input_shape, steps)
    found = summary(file, convention=choices.convention, dt=dt, reset=reset, input_shape=choices.input_shape)
    if found.reading is None and (inputs is not None or to is not None):
        raise UserError(f"{file}: {found.problem}")
    document: dict[str, Any] = found.as_document()
    if not as_json:
        out.print(str(found))
    run = None
    if inputs is not None:
        assert found.reading is not None
        run = run_on(found.reading.graph, inputs, steps=steps, expected=expected)
        document["run"] = {"samples": run.samples, "steps": run.steps, "rates": run.rates, "compared": list(run.compared)}
        document["run"] |= {
            "warnings": list(run.warnings),
            "difference": None if run.difference is None else str(run.difference),
        }
        if not as_json:
            out.print(str(run))
    if to is not None:
        assert found.reading is not None
        assert output is not None
        for text in (*found.reading.warnings, *write_again(found.reading.graph, to, output)):
            err.print(f"{file}: warning: {text}")
        document["written"] = str(output)
        if not as_json:
            out.print(f"{output}: written in the dialect {to}")
    if as_json:
        out.print_json(json.dumps(document))
    if run is not None and run.difference is not None:
        raise Failure(f"{file}: not as recorded: {run.difference}")
