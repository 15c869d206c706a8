"""Turn a checkpoint into a deployment bundle for each target: artefacts, a sample with its spikes, and a manifest."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from neurodeploy.cli.choices import Output
from neurodeploy.cli.console import out

EXAMPLE = """neurodeploy export runs/demo/seed-0/student/checkpoint.safetensors \\
    --target onnx --target lava --quantize exact --output runs/bundles"""


def command(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint written by `train` or `run`.", show_default=False)],
    target: Annotated[list[str], typer.Option("--target", help="onnx, lava or another installed target; repeatable.")],
    output: Output = None,
    quantize: Annotated[
        Literal["none", "exact"],
        typer.Option(help="exact: 8-bit weights on a power-of-two grid, on which every sum is exact. Lava is always 8-bit."),
    ] = "none",
    samples: Annotated[int, typer.Option(min=1, help="Test samples that the bundle carries for its verification.")] = 16,
) -> None:
    from neurodeploy import checkpoint as checkpoints
    from neurodeploy.evaluation import evaluate
    from neurodeploy.graph import fold_batch_norm
    from neurodeploy.graph.tracing import trace
    from neurodeploy.targets import find

    exporters = {name: find(name) for name in target}
    loaded = checkpoints.load(checkpoint)
    recipe = loaded.progress.recipe
    data = recipe.data.load()
    graph = fold_batch_norm(trace(loaded.network, data.sample_shape, timed=data.timed))
    trained = evaluate(loaded.network, data.test_samples, data.test_labels).accuracy
    for name, exporter in exporters.items():
        folder = exporter(
            graph,
            data.sequences(data.test_samples[:samples]).numpy(),
            (output or checkpoint.parent / "bundles") / name,
            name=f"{recipe.name}-{loaded.progress.role}",
            quantize=quantize,
            accuracy={"float": trained},
            test=(data.sequences(data.test_samples).numpy(), data.test_labels.numpy()),
        )
        out.print(f"{folder}: written; check it with: neurodeploy verify {folder}")
