"""Turn a checkpoint or NIR file into a bundle for each target: artefacts, a sample with its spikes, and a manifest."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurodeploy.cli.choices import (
    NIR_OPTIONS,
    AsJson,
    Convention,
    Data,
    Device,
    Inputs,
    InputShape,
    NirReset,
    Output,
    Steps,
    TimeStep,
    nir_choices,
    refuse,
)
from neurodeploy.cli.console import err, out
from neurodeploy.cli.target_options import given
from neurodeploy.io.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from neurodeploy.app.cutting import Weighed
    from neurodeploy.app.deployment import Targets
    from neurodeploy.app.model import NirChoices
    from neurodeploy.app.own_data import DataChoice
    from neurodeploy.recipe import FinetuneSettings
    from neurodeploy_energy.price.profiles import Profile
    from neurodeploy_exporters.bundle import Agreement, Bundle, InputGrid
    from neurodeploy_exporters.target import Subject, Target

FINETUNE_OPTIONS = ("finetune", "finetune_learning_rate", "finetune_reset", "resume", "device")
EXAMPLE = """neurodeploy export runs/demo/seed-0/student/checkpoint.safetensors \\
    --target onnx --target lava --quantize exact --output runs/bundles"""


def command(
    ctx: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            help="A checkpoint of `train` or `run`, a NIR or Loihi .net file, or package.module:name of a network.",
            show_default=False,
        ),
    ],
    target: Annotated[list[str], typer.Option("--target", help="onnx, lava, nir, c or another installed target; repeatable.")],
    output: Output = None,
    samples: Annotated[int, typer.Option(min=1, help="Test samples that the bundle carries for its verification.")] = 16,
    calibration: Annotated[
        int,
        typer.Option(
            min=0,
            help="Training samples on which a target may choose how it rounds (without --quantize exact); 0: none.",
        ),
    ] = 64,
    finetune: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Train so many epochs in the target's arithmetic first; with one target that can (lava).",
            show_default=False,
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
    host_profile: Annotated[
        str, typer.Option(help="Energy profile of the host, by name or TOML path; chip and host choose where to cut.")
    ] = "cmos45-fp32+lemaire",
    data: Data = None,
    inputs: Inputs = None,
    convention: Convention = None,
    dt: TimeStep = None,
    reset: NirReset = None,
    input_shape: InputShape = None,
    steps: Steps = None,
    as_json: AsJson = False,
) -> None:
    from neurodeploy.app.model import knows_no_data
    from neurodeploy.app.origins import is_chip_file, is_nir
    from neurodeploy.app.own_data import DataChoice
    from neurodeploy.app.ready import located
    from neurodeploy.cli.head_cut import head_cut_table
    from neurodeploy.training.evaluation import Accuracy
    from neurodeploy_energy.price.profiles import load
    from neurodeploy_exporters.bundle import read_bundle
    from neurodeploy_exporters.target import find, shared_options

    path = located(model, err.print)
    if path != model:  # nothing is written beside the package's own files
        beside, output = Path("runs") / model, output or Path("runs") / model / "bundles"
    else:
        beside = Path(model).parent
    model = path
    targets = {name: find(name) for name in target}
    options = shared_options(target, given(ctx))
    chosen = {name: (one, one.options(options[name])) for name, one in targets.items()}
    prices = load(chip_profile), load(host_profile)
    if not any(one.chip for one in targets.values()):
        refuse(ctx, ("chip_profile", "host_profile"), "prices what a chip and its host compute, and no target has a chip")
    is_file = is_nir(model) or is_chip_file(model)
    is_module = ":" in model and not model.endswith(".safetensors")
    without_data = not is_file and not is_module and knows_no_data(Path(model))
    if not is_file:
        refuse(ctx, NIR_OPTIONS, f"says how a NIR file is understood, {model} is none")
    choice = DataChoice(data, inputs=inputs)
    if is_file or is_module or without_data:
        what = f"a {Path(model).suffix} file" if is_file else "a module" if is_module else "a checkpoint of a module"
        instead = "" if is_file else ", which a recipe with it as its teacher.module does"
        refuse(ctx, FINETUNE_OPTIONS, f"{what} brings no training data{instead}")
        choices = nir_choices(convention, dt, reset, input_shape, steps)
        written = _export_with_data(
            model, choices, chosen, choice, output, samples=samples, calibration=calibration, prices=prices
        )
    else:
        refuse(ctx, ("data", "inputs"), "a checkpoint brings its own data")
        settings = _settings(targets, finetune, finetune_learning_rate, reset=finetune_reset, resume=resume)
        if settings is None:
            refuse(ctx, ("device",), "exporting needs none; it belongs to --finetune")
        written = _export_checkpoint(
            Path(model),
            chosen,
            output,
            settings,
            beside=beside,
            samples=samples,
            calibration=calibration,
            resume=resume,
            device=device,
            prices=prices,
        )
    bundles = [read_bundle(folder) for folder, _ in written]
    if as_json:
        out.print_json(json.dumps([_document(bundle) for bundle in bundles]))
        return
    for bundle, weighed in zip(bundles, (weighed for _, weighed in written), strict=True):
        manifest = bundle.manifest
        out.print(f"{bundle.folder}: written; check it with: neurodeploy verify {bundle.folder}")
        if manifest.head_cut is not None and weighed is not None:
            out.print(head_cut_table(manifest.head_cut, weighed))
        for label, found in manifest.accuracy.items():
            out.print(f"{label}: test accuracy {Accuracy(found.correct, found.samples)}")
        if manifest.agreement is not None:
            out.print(_agreement(manifest.agreement))
        if manifest.module is not None:
            out.print(str(manifest.module))
        if manifest.input_grid is not None and manifest.input_grid.rounded:
            out.print(_rounded_inputs(manifest.input_grid))


def _document(bundle: "Bundle") -> dict[str, Any]:
    """What `--json` prints of a bundle."""
    manifest = bundle.manifest
    return {"bundle": str(bundle.folder), "target": manifest.target} | manifest.model_dump(
        mode="json", include={"accuracy", "agreement", "head_cut", "input_grid", "normalization", "quantization", "notes"}
    )


def _export_checkpoint(
    checkpoint: Path,
    targets: "Targets",
    output: Path | None,
    settings: "FinetuneSettings | None",
    *,
    beside: Path,
    samples: int,
    calibration: int,
    resume: bool,
    device: str,
    prices: "tuple[Profile, Profile]",
) -> "list[tuple[Path, Weighed | None]]":
    from neurodeploy.app.deployment import deploy, origin_of
    from neurodeploy.app.finetune import finetune_student
    from neurodeploy.app.progress import training_bar
    from neurodeploy.app.run import FINETUNING
    from neurodeploy.graph.ops.terminals import INPUT_BITS
    from neurodeploy.io.kinds import kind_of
    from neurodeploy.training import checkpoint as checkpoints
    from neurodeploy.training.evaluation import evaluate
    from neurodeploy.training.parallel import device_on

    loaded = checkpoints.load(checkpoint)
    progress, data = loaded.progress, loaded.load_data()
    test = data.test_samples, data.test_labels
    deployment = deploy(loaded.network, data)
    graph, tuned_with, stored = deployment.graph, None, deployment.data
    for target, options in targets.values() if settings is None else ():  # a fine-tuning has checks of its own
        target.check(graph, options, calibrated=calibration > 0)
    accuracy = {"float": evaluate(loaded.network, *test).accuracy}
    if settings is not None:
        if not isinstance(progress, checkpoints.Progress):
            raise UserError(f"--finetune: for students of a recipe, {progress.title} found; export without it")
        recipe, role, seed = progress.recipe, progress.role, progress.seed
        if deployment.code is not None:
            code = recipe.code_of(role)
            kind = code if code == "events" else kind_of(code)
            raise UserError(f"--finetune: for direct codes and events, a {kind} code found; export without it")
        ((target, options),) = targets.values()
        try:
            tuned = finetune_student(
                recipe,
                role,
                seed,
                graph,
                beside / FINETUNING,
                settings,
                target=target,
                data=stored,
                quantize="exact" if getattr(options, "quantize", "none") == "exact" else "none",
                input_bits=getattr(options, "input_bits", INPUT_BITS),
                calibration=calibration,
                resume=resume,
                watcher=training_bar,
                device=device_on(device),
            )
        except KeyboardInterrupt:
            err.print("interrupted; continue with the same command and --resume")
            raise typer.Exit(130) from None
        graph, tuned_with = tuned.graph, tuned.tuned
        accuracy |= {
            "quantised": evaluate(tuned.start, stored.test_samples, stored.test_labels).accuracy,
            "tuned": evaluate(tuned.module, stored.test_samples, stored.test_labels).accuracy,
        }
    trained = progress.recipe if isinstance(progress, checkpoints.Progress) else None
    subject = deployment.subject(
        progress.file_name,
        samples=samples,
        calibration=calibration,
        accuracy=accuracy,
        graph=graph,
        tuned=tuned_with,
        provenance=origin_of(trained, progress.seed, checkpoint),
    )
    return _written(subject, targets, output or checkpoint.parent / "bundles", prices)


def _written(
    subject: "Subject", targets: "Targets", root: Path, prices: "tuple[Profile, Profile]"
) -> "list[tuple[Path, Weighed | None]]":
    """The bundles, each cut into chip and host where both cost least, and what that was weighed by."""
    from neurodeploy.app.cutting import weighed_for

    written = []
    for name, (target, options) in targets.items():
        cut = weighed_for(target, options, subject, *prices)
        written.append((target.export(cut.subject, root / name, cut.options), cut.weighed))
    return written


def _export_with_data(
    place: str,
    choices: "NirChoices",
    targets: "Targets",
    choice: "DataChoice",
    output: Path | None,
    *,
    samples: int,
    calibration: int,
    prices: "tuple[Profile, Profile]",
) -> "list[tuple[Path, Weighed | None]]":
    """A NIR file or a module, on samples of a file or data set; says what was assumed.

    The bundles carry its first `samples`; those after them, `calibration` at most, are for targets that choose how they round.
    Of a data set, these are training samples.
    """
    from neurodeploy.app.model import lost_in_floats
    from neurodeploy.app.own_module import deployed_with

    model = deployed_with(place, choice, choices, samples=samples + calibration, say=err.print)
    subject = model.subject(samples=samples, calibration=calibration)
    if lost := lost_in_floats(model, subject.sample_inputs):
        err.print(f"{place}: {lost}")
    in_a_file = place.endswith((".nir", ".net", ".circuit", ".safetensors"))
    beside = Path(place).parent if in_a_file else Path("runs") / place.replace(":", "-")
    return _written(subject, targets, output or beside / "bundles", prices)


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


def _rounded_inputs(grid: "InputGrid") -> str:
    """One line on what it changes that inputs are rounded, on the test set if there is one."""
    found = grid.test or grid.sample
    assert found is not None
    text = (
        f"inputs are rounded to {grid.largest.bit_length() - 1} bits and a sign, in steps of 2^{-grid.exponent}: "
        f"{found.changed_spikes:,} of {found.spikes_compared:,} spikes and {found.changed_answers:,} of {found.samples:,} "
        f"answers change, {found.saturated:,} of {found.values:,} values are beyond the grid"
    )
    if found.correct_as_given is None or found.correct_rounded is None:
        return text
    return f"{text}; right answers: {found.correct_as_given:,} as given, {found.correct_rounded:,} rounded"


def _settings(
    targets: "Mapping[str, Target]", epochs: int | None, learning_rate: float | None, *, reset: bool, resume: bool
) -> "FinetuneSettings | None":
    from neurodeploy.recipe import FinetuneSettings

    if epochs is None:
        unused = {"--finetune-learning-rate": learning_rate is not None, "--finetune-reset": reset, "--resume": resume}
        for option in (option for option, used in unused.items() if used):
            raise UserError(f"{option}: belongs to a fine-tuning; give its epochs with --finetune")
        return None
    if not (len(targets) == 1 and all(target.tunable for target in targets.values())):
        raise UserError(
            f"--finetune: for one target that can be fine-tuned for, such as lava, {', '.join(targets)} found; export the "
            "other targets without it"
        )
    rate: dict[str, Any] = {} if learning_rate is None else {"learning_rate": learning_rate}
    return FinetuneSettings(epochs=epochs, reset=reset, **rate)
