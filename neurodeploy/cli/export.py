"""Turn a checkpoint into a deployment bundle for each target: artefacts, a sample with its spikes, and a manifest."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from neurodeploy.cli.choices import Device, Output, fabric_on
from neurodeploy.cli.console import err, out
from neurodeploy.errors import UserError

if TYPE_CHECKING:
    from neurodeploy.recipe import FinetuneSettings

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
    finetune: Annotated[
        int | None,
        typer.Option(
            min=1, help="Train so many epochs in Loihi's integers first; for `--target lava` alone.", show_default=False
        ),
    ] = None,
    finetune_learning_rate: Annotated[
        float | None, typer.Option(min=1e-9, help="Of the fine-tuning, at its start.", show_default=False)
    ] = None,
    finetune_reset: Annotated[
        bool, typer.Option("--finetune-reset", help="Neurons that were trained with another reset learn the chip's, to 0.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a fine-tuning that was interrupted.")] = False,
    device: Device = "auto",
) -> None:
    from neurodeploy import checkpoint as checkpoints
    from neurodeploy.cli.progress import training_bar
    from neurodeploy.evaluation import evaluate
    from neurodeploy.finetuning import finetune_student
    from neurodeploy.graph import fold_batch_norm
    from neurodeploy.graph.tracing import trace
    from neurodeploy.job import FINETUNING
    from neurodeploy.targets import find

    exporters = {name: find(name) for name in target}
    settings = _settings(target, finetune, finetune_learning_rate, reset=finetune_reset, resume=resume)
    loaded = checkpoints.load(checkpoint)
    recipe, role, seed = loaded.progress.recipe, loaded.progress.role, loaded.progress.seed
    data = recipe.data.load()
    test = data.test_samples, data.test_labels
    graph = fold_batch_norm(trace(loaded.network, data.sample_shape, timed=data.timed))
    accuracy = {"float": evaluate(loaded.network, *test).accuracy}
    further: dict[str, Any] = {}
    if settings is not None:
        folder = checkpoint.parent / FINETUNING
        try:
            tuned = finetune_student(
                recipe,
                role,
                seed,
                graph,
                folder,
                settings,
                data=data,
                quantize=quantize,
                resume=resume,
                watcher=training_bar,
                device=fabric_on(device).device,
            )
        except KeyboardInterrupt:
            err.print("interrupted; continue with the same command and --resume")
            raise typer.Exit(130) from None
        graph, further = tuned.graph, {"scales": tuned.scales}
        accuracy |= {
            "quantised": evaluate(tuned.start, *test).accuracy,
            "tuned": evaluate(tuned.module, *test).accuracy,
        }
    for name, exporter in exporters.items():
        folder = exporter(
            graph,
            data.sequences(data.test_samples[:samples]).numpy(),
            (output or checkpoint.parent / "bundles") / name,
            name=f"{recipe.name}-{role}",
            quantize=quantize,
            accuracy=accuracy,
            test=(data.sequences(data.test_samples).numpy(), data.test_labels.numpy()),
            **further,
        )
        out.print(f"{folder}: written; check it with: neurodeploy verify {folder}")
    for label, found in accuracy.items() if settings is not None else ():
        out.print(f"{label}: test accuracy {found}")


def _settings(
    targets: list[str], epochs: int | None, learning_rate: float | None, *, reset: bool, resume: bool
) -> "FinetuneSettings | None":
    from neurodeploy.recipe import FinetuneSettings

    if epochs is None:
        given = {"--finetune-learning-rate": learning_rate is not None, "--finetune-reset": reset, "--resume": resume}
        for option in (option for option, used in given.items() if used):
            raise UserError(f"{option}: belongs to a fine-tuning; give its epochs with --finetune")
        return None
    if targets != ["lava"]:
        raise UserError(f"--finetune: for --target lava alone, {', '.join(targets)} found; export the other targets without it")
    rate: dict[str, Any] = {} if learning_rate is None else {"learning_rate": learning_rate}
    return FinetuneSettings(epochs=epochs, reset=reset, **rate)
