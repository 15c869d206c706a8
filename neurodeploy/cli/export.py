"""Turn a checkpoint or NIR file into a bundle for each target: artefacts, a sample with its spikes, and a manifest."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from neurodeploy.cli.choices import Convention, Device, InputShape, NirReset, Output, Steps, TimeStep, fabric_on, nir_choices
from neurodeploy.cli.console import err, out
from neurodeploy.io.errors import UserError

if TYPE_CHECKING:
    from neurodeploy.recipe import FinetuneSettings
    from neurodeploy_exporters.bundle import Agreement

EXAMPLE = """neurodeploy export runs/demo/seed-0/student/checkpoint.safetensors \\
    --target onnx --target lava --quantize exact --output runs/bundles"""


def command(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint of `train` or `run`, or a NIR file.", show_default=False)],
    target: Annotated[list[str], typer.Option("--target", help="onnx, lava, nir or another installed target; repeatable.")],
    output: Output = None,
    quantize: Annotated[
        Literal["none", "exact", "int8"],
        typer.Option(
            help="exact: 8-bit weights on a power-of-two grid, on which every sum is exact. int8: ONNX in integers, faster and "
            "smaller, not exact. Lava is always 8-bit."
        ),
    ] = "none",
    samples: Annotated[int, typer.Option(min=1, help="Test samples that the bundle carries for its verification.")] = 16,
    calibration: Annotated[
        int,
        typer.Option(
            min=0,
            help="Training samples on which Lava's layers, or int8's, get their scales without --quantize exact; 0: none.",
        ),
    ] = 64,
    streaming: Annotated[
        bool, typer.Option("--streaming", help="ONNX: states are inputs and outputs, a sequence may come in chunks.")
    ] = False,
    spike_counts: Annotated[
        bool, typer.Option("--spike-counts", help="ONNX: spikes per layer, step and sample as further outputs.")
    ] = False,
    head_cut: Annotated[
        Literal["last-spike", "last-synapse"],
        typer.Option(help="Lava: spikes leave the chip, or graded values of the last synapse, which it then computes too."),
    ] = "last-spike",
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
    chip_profile: Annotated[str, typer.Option(help="Energy profile of the chip, by name or TOML path.")] = "loihi1",
    host_profile: Annotated[str, typer.Option(help="Energy profile of the host, by name or TOML path.")] = "cmos45-fp32",
    inputs: Annotated[
        Path | None, typer.Option("--input", help="Samples [N, …] in a .npy file, for a NIR file.", show_default=False)
    ] = None,
    convention: Convention = None,
    dt: TimeStep = None,
    reset: NirReset = None,
    input_shape: InputShape = None,
    steps: Steps = None,
) -> None:
    from neurodeploy.app.deployment import deploy
    from neurodeploy.app.finetune import finetune_student
    from neurodeploy.app.model import is_nir
    from neurodeploy.app.run import FINETUNING
    from neurodeploy.app.targets import find, further_options
    from neurodeploy.cli.console import training_bar
    from neurodeploy.cli.head_cut import head_cut_table
    from neurodeploy.cli.imported import export_imported
    from neurodeploy.training import checkpoint as checkpoints
    from neurodeploy.training.evaluation import Accuracy, evaluate
    from neurodeploy_energy.cost import load
    from neurodeploy_exporters.bundle import read_bundle

    exporters = {name: find(name) for name in target}
    chosen: dict[str, Any] = {"head_cut": head_cut, "streaming": streaming, "spike_counts": spike_counts}
    further_options(exporters, **chosen)
    if quantize == "int8" and "lava" in target:
        raise UserError("--quantize int8: for --target onnx alone; lava has 8-bit weights always, take none or exact")
    if is_nir(checkpoint):
        if finetune is not None:
            raise UserError(f"{checkpoint}: a NIR file brings no training data, leave out --finetune")
        choices = nir_choices(convention, dt, reset, input_shape, steps)
        export_imported(
            checkpoint,
            choices,
            exporters,
            inputs,
            output,
            quantize=quantize,
            count=samples,
            calibration=calibration,
            chosen=chosen,
        )
        return
    settings = _settings(target, finetune, finetune_learning_rate, reset=finetune_reset, resume=resume)
    chip, host = load(chip_profile), load(host_profile)
    loaded = checkpoints.load(checkpoint)
    recipe, role, seed = loaded.progress.recipe, loaded.progress.role, loaded.progress.seed
    data = recipe.data.load()
    test = data.test_samples, data.test_labels
    deployment = deploy(loaded.network, data)
    options = further_options(
        exporters, **chosen, calibration=deployment.calibration(calibration), encoding=deployment.encoding
    )
    graph = deployment.graph
    accuracy = {"float": evaluate(loaded.network, *test).accuracy}
    further: dict[str, Any] = {}
    if settings is not None:
        if deployment.code is not None:
            raise UserError(f"--finetune: for direct codes and events, a {recipe.code_of(role)} code found; export without it")
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
                quantize="exact" if quantize == "exact" else "none",
                calibration=calibration,
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
            deployment.inputs(data.test_samples[:samples]),
            (output or checkpoint.parent / "bundles") / name,
            name=f"{recipe.name}-{role}",
            quantize=quantize,
            accuracy=accuracy,
            test=deployment.test,
            **options[name],
            **further,
        )
        out.print(f"{folder}: written; check it with: neurodeploy verify {folder}")
        manifest = read_bundle(folder).manifest
        if manifest.head_cut is not None:
            out.print(head_cut_table(manifest.head_cut, chip, host))
        for label, found in manifest.accuracy.items():
            out.print(f"{label}: test accuracy {Accuracy(found.correct, found.samples)}")
        if manifest.agreement is not None:
            out.print(_agreement(manifest.agreement))


def _agreement(found: "Agreement") -> str:
    """One line on how closely an artefact follows its network."""
    text = (
        f"{found.mismatched_spikes:,} of {found.spikes_compared:,} spikes of {found.samples} samples "
        f"({100 * found.mismatch_rate:.2g} %) differ from "
        + ("the float network's" if found.reference == "float" else "the reference interpreter's")
    )
    if not found.answers_compared:
        return text
    share = 100 * found.changed_answers / found.answers_compared
    return f"{text}; {found.changed_answers:,} of {found.answers_compared:,} test samples ({share:.2g} %) get another answer"


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
