"""One network in every installed format and program: accuracy, spikes, time, bytes, energy and fit in one table."""

import platform
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neurodeploy.cli.choices import (
    NIR_OPTIONS,
    AsJson,
    Convention,
    Data,
    DataPart,
    Inputs,
    InputShape,
    Labels,
    NirReset,
    Output,
    Steps,
    TimeStep,
    nir_choices,
    refuse,
)
from neurodeploy.cli.console import err, out, print_json, remembered
from neurodeploy.cli.target_options import given

if TYPE_CHECKING:
    from neurodeploy.app.benchmark.contestants import Watch

EXAMPLE = (
    "neurodeploy benchmark runs/demo/seed-0/student/checkpoint.safetensors --samples 32 --seconds 1 --output runs/benchmark"
)


def command(
    ctx: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            help="A checkpoint, bundle, NIR or Loihi .net file, or package.module:name of a network.", show_default=False
        ),
    ],
    targets: Annotated[
        str | None, typer.Option(help="Of these alone, such as onnx,lava; all installed ones if not given.", show_default=False)
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Samples that every program is to answer.")] = 200,
    threads: Annotated[int, typer.Option(min=1, help="That every program computes with.")] = 1,
    seconds: Annotated[
        float,
        typer.Option(min=0.1, help="For one program to answer the samples, and again to be timed on one size of batches."),
    ] = 20.0,
    chip_profile: Annotated[str, typer.Option(help="Energy profile of chips, by name or TOML path.")] = "loihi1",
    host_profile: Annotated[str, typer.Option(help="Energy profile of hosts, by name or TOML path.")] = ("cmos45-fp32+lemaire"),
    data: Data = None,
    part: DataPart = "test",
    inputs: Inputs = None,
    labels: Labels = None,
    convention: Convention = None,
    dt: TimeStep = None,
    reset: NirReset = None,
    input_shape: InputShape = None,
    steps: Steps = None,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    from neurodeploy.app.benchmark import Settings, benchmark, compared
    from neurodeploy.app.benchmark.document import as_json as document
    from neurodeploy.app.benchmark.report import as_page, table_of
    from neurodeploy.app.origins import is_chip_file, is_nir
    from neurodeploy.app.own_data import DataChoice
    from neurodeploy.app.own_module import any_deployed
    from neurodeploy.io.files import atomic_members, write_text
    from neurodeploy_energy.report.formats import drawn
    from neurodeploy_exporters.target import find

    if not (is_nir(model) or is_chip_file(model)):
        refuse(ctx, NIR_OPTIONS, f"says how a NIR file is understood, {model} is none")
    names = tuple(filter(None, (name.strip() for name in (targets or "").split(","))))
    for name in names:
        find(name)
    settings = Settings(names, given(ctx), threads, seconds, chip_profile, host_profile)
    choice = DataChoice(data, part, inputs, labels)
    choices = nir_choices(convention, dt, reset, input_shape, steps)
    source = any_deployed(model, choice, choices, samples=min(samples, _COMPARED), say=err.print)
    asked = compared(source, samples, given=choice != DataChoice())
    try:
        with tempfile.TemporaryDirectory(prefix="neurodeploy-") as root, remembered() as check, _shown(check) as watch:
            result = benchmark(asked, settings, Path(root), watch=watch)
    except KeyboardInterrupt:
        err.print("interrupted; nothing was written")
        raise typer.Exit(130) from None
    if output is not None:
        facts = {"Model": model, "Samples": asked.data, "Machine": f"{platform.machine()}, {platform.system()}"}
        with atomic_members(output) as new:
            write_text(new / "benchmark.html", as_page(result, facts))
            write_text(new / "benchmark.json", document(result))
    if as_json:
        print_json(document(result))
        return
    shown = table_of(result)
    out.print(drawn(shown))
    if output is not None:
        out.print(f"benchmark: {output / 'benchmark.html'}")


_COMPARED = 16  # samples on which a module of the user's own and its graph are compared


@contextmanager
def _shown(check: Callable[[], None]) -> Iterator["Watch"]:
    """What is being done, on standard error; and an interrupt that was dropped is raised."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = (TextColumn("{task.description:<24}", markup=False), BarColumn(bar_width=30), TaskProgressColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("", total=1)

        def watch(what: str, done: int, total: int) -> None:
            check()
            progress.update(task, description=what, completed=done, total=max(1, total))

        yield watch
