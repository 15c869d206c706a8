"""Accuracy with its confidence interval, class by class, and spikes layer by layer, of a model on a test set.

A checkpoint is evaluated on the test set of its own data; every other model on data that the options name.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from neurodeploy.cli.choices import (
    NIR_OPTIONS,
    AsJson,
    Convention,
    Data,
    DataPart,
    Device,
    Inputs,
    InputShape,
    Labels,
    NirReset,
    Steps,
    TimeStep,
    nir_choices,
    refuse,
)
from neurodeploy.cli.console import err, out
from neurodeploy.io.errors import UserError

if TYPE_CHECKING:
    from neurodeploy.training.evaluation import Evaluation

EXAMPLE = "neurodeploy evaluate runs/demo/seed-0/student/checkpoint.safetensors"
_MOST_CLASSES = 30  # rows of the table


def command(
    ctx: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            help="A checkpoint, bundle or NIR file, or package.module:name of a torch module or of a function that makes one.",
            show_default=False,
        ),
    ],
    data: Data = None,
    part: DataPart = "test",
    inputs: Inputs = None,
    labels: Labels = None,
    confusion: Annotated[
        Path | None, typer.Option(help="Write the confusion matrix to this .csv or .png file.", show_default=False)
    ] = None,
    convention: Convention = None,
    dt: TimeStep = None,
    reset: NirReset = None,
    input_shape: InputShape = None,
    steps: Steps = None,
    as_json: AsJson = False,
    device: Device = "auto",
) -> None:
    from neurodeploy.app.own_data import DataChoice, model_with
    from neurodeploy.data.samples import on_device
    from neurodeploy.training.confusion import check_ending, write_confusion
    from neurodeploy.training.evaluation import evaluate
    from neurodeploy.training.parallel import device_on

    if not model.endswith(".nir"):
        refuse(ctx, NIR_OPTIONS, f"says how a NIR file is understood, {model} is none")
    if confusion is not None:
        check_ending(confusion)
    choice = DataChoice(data, part, inputs, labels)
    found = model_with(model, choice, nir_choices(convention, dt, reset, input_shape, steps), say=err.print)
    if found.test_samples is None or found.test_labels is None:
        what = "no labels" if found.test_samples is not None else "no data of its own"
        raise UserError(f"{model}: {what}; give data with --data, or --input samples.npy and --labels labels.npy")
    where = device_on("cpu" if found.deployed else device)
    network = found.module.to(where)
    result = evaluate(
        network,
        on_device(found.test_samples, where),
        found.test_labels.to(where),
        batch_size=min(50, found.batch or 50),
        workers=found.workers,
    )
    names = tuple(found.class_names) or tuple(map(str, range(len(result.confusion))))
    if confusion is not None:
        write_confusion(confusion, result.confusion, names)
    if as_json:
        out.print_json(json.dumps(_document(model, found.data, result, names)))
        return
    out.print(f"{found.name} on {found.data}")
    out.print(f"accuracy {result.accuracy}")
    out.print(_classes(result, names))
    if result.spikes:
        table = Table("spiking layer", "spikes per sample")
        table.columns[1].justify = "right"
        for name, count in result.spikes.items():
            table.add_row(name, f"{count:,.1f}")
        table.add_section()
        table.add_row("total", f"{result.spikes_per_sample:,.1f}")
        out.print(table)
    if confusion is not None:
        out.print(f"confusion matrix: {confusion}")


def _document(model: str, data: str, result: "Evaluation", names: tuple[str, ...]) -> dict[str, Any]:
    low, high = result.accuracy.interval
    return {
        "model": model,
        "data": data,
        "accuracy": result.accuracy.percent,
        "accuracy_interval_95": [low, high],
        "correct": result.accuracy.correct,
        "samples": result.accuracy.samples,
        "classes": [
            {"class": names[k], "accuracy": one.percent, "accuracy_interval_95": [*one.interval], "samples": one.samples}
            for k, one in result.by_class.items()
        ],
        "confusion": result.confusion.tolist(),
        "spikes_per_sample": result.spikes_per_sample,
        "spikes_per_sample_by_layer": result.spikes,
    }


def _classes(result: "Evaluation", names: tuple[str, ...]) -> Table:
    """A row for each class; of many classes, those that are recognised worst."""
    shown = list(result.by_class.items())
    if len(shown) > _MOST_CLASSES:
        shown = sorted(shown, key=lambda entry: entry[1].percent)[:_MOST_CLASSES]
        title = f"class (the {_MOST_CLASSES} worst of {len(result.by_class)})"
    else:
        title = "class"
    table = Table(title, "samples", "recognised, %", "95 % interval", "most often taken for")
    for column in table.columns[1:4]:
        column.justify = "right"
    for k, one in shown:
        low, high = one.interval
        wrong = result.confusion[k].copy()
        wrong[k] = 0
        taken = f"{names[int(wrong.argmax())]} ({int(wrong.max())})" if wrong.any() else ""
        table.add_row(names[k], f"{one.samples:,}", f"{one.percent:.2f}", f"{low:.2f} to {high:.2f}", taken)
    return table
