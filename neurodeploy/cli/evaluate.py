"""Accuracy with its confidence interval, and spikes layer by layer, of a checkpoint on its test set."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from neurodeploy.cli.choices import AsJson, Device
from neurodeploy.cli.console import out

EXAMPLE = "neurodeploy evaluate runs/demo/seed-0/student/checkpoint.safetensors"


def command(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint written by `train` or `run`.", show_default=False)],
    as_json: AsJson = False,
    device: Device = "auto",
) -> None:
    from neurodeploy.data.samples import on_device
    from neurodeploy.training import checkpoint as checkpoints
    from neurodeploy.training.evaluation import evaluate
    from neurodeploy.training.parallel import fabric_on

    loaded = checkpoints.load(checkpoint)
    fabric, data = fabric_on(device), loaded.progress.load_data()
    network = loaded.network.to(fabric.device)
    samples, labels = on_device(data.test_samples, fabric.device), data.test_labels.to(fabric.device)
    result = evaluate(network, samples, labels, workers=data.workers)
    if as_json:
        low, high = result.accuracy.interval
        answer = {
            "checkpoint": str(checkpoint),
            "data": data.note,
            "accuracy": result.accuracy.percent,
            "accuracy_interval_95": [low, high],
            "correct": result.accuracy.correct,
            "samples": result.accuracy.samples,
            "spikes_per_sample": result.spikes_per_sample,
            "spikes_per_sample_by_layer": result.spikes,
        }
        out.print_json(json.dumps(answer))
        return
    out.print(f"{checkpoints.describe(loaded.progress)} on {data.note}")
    out.print(f"accuracy {result.accuracy}")
    if result.spikes:
        table = Table("spiking layer", "spikes per sample")
        table.columns[1].justify = "right"
        for name, count in result.spikes.items():
            table.add_row(name, f"{count:,.1f}")
        table.add_section()
        table.add_row("total", f"{result.spikes_per_sample:,.1f}")
        out.print(table)
