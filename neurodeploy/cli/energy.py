"""Spikes and estimated energy, layer by layer, of a checkpoint, a bundle or any torch module, optionally against a baseline."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

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
    Output,
    TimeStep,
    nir_choices,
    refuse,
)
from neurodeploy.cli.console import err, out, print_json

EXAMPLE = """neurodeploy energy runs/demo/seed-0/student/checkpoint.safetensors \\
    --baseline runs/demo/seed-0/baseline/checkpoint.safetensors --output runs/energy"""


def command(
    ctx: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            help="A checkpoint, bundle, ONNX (without spikes), NIR or Loihi .net file, or package.module:name of a torch "
            "module or its function.",
            show_default=False,
        ),
    ],
    baseline: Annotated[str | None, typer.Option(help="Another such model to compare with.", show_default=False)] = None,
    twin: Annotated[
        str | None,
        typer.Option(help="The trained ReLU network that stands for the model, such as its teacher.", show_default=False),
    ] = None,
    profile: Annotated[
        list[str] | None,
        typer.Option(
            help="Energy profile, by name or TOML path, NAME+lemaire or NAME+hierarchy with memory; the first is the headline."
        ),
    ] = None,
    host_profile: Annotated[
        str, typer.Option(help="Energy profile of the host, which runs what is before and behind a chip.")
    ] = "cmos45-fp32+lemaire",
    data: Data = None,
    part: DataPart = "test",
    samples: Inputs = None,
    labels: Labels = None,
    convention: Convention = None,
    dt: TimeStep = None,
    reset: NirReset = None,
    input_shape: InputShape = None,
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps",
            min=1,
            help="NIR: feed static samples so many times; a module that takes one time step in a call: call it so often.",
            show_default=False,
        ),
    ] = None,
    batch_axis: Annotated[
        int | None,
        typer.Option(
            "--batch-axis",
            help="Module: axis of the samples in its input, 0, or 1 for T,B,…; found out and checked if not given.",
            show_default=False,
        ),
    ] = None,
    time_axis: Annotated[
        int | None,
        typer.Option(
            "--time-axis",
            help="Module: axis of the time steps in its input; with --steps it is called with one of them at a time.",
            show_default=False,
        ),
    ] = None,
    fold: Annotated[
        bool,
        typer.Option(
            "--fold/--no-fold",
            help="Count layers with nothing between them that is not linear (RepConv, RepVGG) as the one layer that "
            "computes the same; rows say both. Batch norms are folded in any case.",
        ),
    ] = True,
    output: Output = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Also read the machine's energy counters (NVML, RAPL) while the model runs.")
    ] = False,
    device: Device = "cpu",
    simulator: Annotated[
        Literal["sana-fe"] | None,
        typer.Option(
            help="Bundle for Loihi or .net file: also simulate energy and latency of its chip's part; SANA-FE is a program of "
            "its own.",
            show_default=False,
        ),
    ] = None,
    simulator_python: Annotated[
        Path | None,
        typer.Option(help="Python of the environment that has the simulator; $NEURODEPLOY_SANA_FE if not given."),
    ] = None,
    simulator_samples: Annotated[int, typer.Option(min=1, help="How many of the samples are simulated, at most.")] = 4,
    simulator_timeout: Annotated[float, typer.Option(min=1, help="Seconds after which the simulator is stopped.")] = 1800,
    as_json: AsJson = False,
) -> None:
    from dataclasses import replace

    import neurodeploy_energy as energy
    from neurodeploy.app.accounting import energy_report
    from neurodeploy.app.model import load_model
    from neurodeploy.app.origins import is_chip_file, is_nir
    from neurodeploy.app.own_data import DataChoice, model_with
    from neurodeploy.app.simulation import simulation
    from neurodeploy.io.errors import UserError
    from neurodeploy.training.parallel import device_on
    from neurodeploy_energy.price.joules import measured_on
    from neurodeploy_energy.price.simulated import Simulation
    from neurodeploy_energy.report import as_json as document
    from neurodeploy_energy.report import energy_table, further_tables, layer_table, spike_line
    from neurodeploy_energy.report.report import PROFILES
    from neurodeploy_exporters.simulation import Simulator

    files = any(one is not None and (is_nir(one) or is_chip_file(one)) for one in (model, baseline))
    if not files:
        refuse(ctx, [one for one in NIR_OPTIONS if one != "steps"], f"says how a NIR file is understood, {model} is none")
    if not measure:
        refuse(ctx, ("device",), "counting needs no device; it belongs to --measure")
    if simulator is None:
        refuse(ctx, ("simulator_python", "simulator_samples", "simulator_timeout"), "belongs to --simulator")
    profiles, where = tuple(profile or PROFILES), device_on(device)
    choices = nir_choices(convention, dt, reset, input_shape, steps if files else None)
    subject = model_with(model, DataChoice(data, part, samples, labels), choices, say=err.print)
    if measure and subject.deployed:
        raise UserError(f"{model}: --measure: a bundle's spikes are replayed here; measure its checkpoint instead")
    other = None if baseline is None else load_model(baseline, choices)
    for statement in () if other is None else (*other.statements, *(f"warning: {text}" for text in other.warnings)):
        err.print(f"{baseline}: {statement}")
    axes = ("batch_axis", "time_axis") if files else ("steps", "batch_axis", "time_axis")
    if files or not subject.is_module or (other is not None and not other.is_module):
        refuse(ctx, axes, "says how a torch module is called; models, bundles and files take samples [N, …] and have their T")
    run: dict[str, Any] = {"fold": fold}
    run |= {} if files else {"steps": steps, "batch_axis": batch_axis, "time_axis": time_axis}
    x = subject.test_samples
    if x is None:
        raise UserError(f"{subject.name}: brings no data of its own; give samples with --input samples.npy, or --data")
    simulated: tuple[Simulation, ...] = ()
    if simulator is not None:  # first, since most of what can be wrong is wrong at once
        program = Simulator(simulator, simulator_python, simulator_timeout)
        simulated = (simulation(subject, x, program, count=simulator_samples),)
    relu, reference = None, None
    if twin is not None:
        ann = load_model(twin)
        relu = energy_report(ann, ann.taking(x, subject), profiles, fold=fold)
    if other is not None:
        reference = energy_report(other, other.taking(x, subject), profiles, host=host_profile, twin=relu, **run)
    report = energy_report(subject, x, profiles, host=host_profile, baseline=reference, twin=relu, **run)
    report = replace(report, simulated=simulated)
    if measure:
        report = replace(report, measured=measured_on(subject.module, x[: subject.batch], where))
    if output is not None:
        facts = {"Model": model, "Data": subject.data}
        facts |= {"Spikes": subject.statements[0]} if subject.deployed else {}
        modules = {name for name, _ in subject.module.named_modules()}
        # Neurons in the code are no layer that could be recorded, and samples on another axis no first one.
        spiking = any(row.kind == "neuron" and row.name in modules for row in report.layers) and report.samples == len(x)
        spikes = energy.record(subject.module, x[:1]) if spiking else None
        assumed = [f"Assumed of the NIR file: {text}." for text in subject.warnings]
        title = f"Energy of {report.name}"
        paths = energy.write_report(report, output, title=title, facts=facts, notices=assumed, spikes=spikes)
    if as_json:
        print_json(document(report))
        return
    for table in (layer_table(report), energy_table(report), *further_tables(report)):
        out.print(table)
    out.print(spike_line(report))
    for name, reason in report.uncounted.items():
        out.print(f"not counted: {name}: {reason}")
    if output is not None:
        out.print(f"report: {paths['html']}")
