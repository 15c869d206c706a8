"""Spikes and estimated energy, layer by layer, of a checkpoint or any torch module, optionally against a baseline."""

from pathlib import Path
from typing import Annotated

import typer

from neurodeploy.cli.choices import Convention, InputShape, NirReset, Output, Steps, TimeStep, nir_choices
from neurodeploy.cli.console import err, out

EXAMPLE = """neurodeploy energy runs/demo/seed-0/student/checkpoint.safetensors \\
    --baseline runs/demo/seed-0/baseline/checkpoint.safetensors --output runs/energy"""


def command(
    model: Annotated[
        str,
        typer.Argument(
            help="A checkpoint, a NIR file, or package.module:name of a torch module or of a function that makes one.",
            show_default=False,
        ),
    ],
    baseline: Annotated[str | None, typer.Option(help="Another such model to compare with.", show_default=False)] = None,
    profile: Annotated[
        list[str] | None, typer.Option(help="Energy profile, by name or TOML path; repeatable, the first is the headline.")
    ] = None,
    samples: Annotated[
        Path | None, typer.Option("--input", help="Samples [N, …] in a .npy file; a checkpoint's test set if not given.")
    ] = None,
    convention: Convention = None,
    dt: TimeStep = None,
    reset: NirReset = None,
    input_shape: InputShape = None,
    steps: Steps = None,
    output: Output = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    import neurodeploy_energy as energy
    from neurodeploy.models import inputs_for, load_model
    from neurodeploy_energy.profiling import PROFILES
    from neurodeploy_energy.report import as_json as document
    from neurodeploy_energy.report import energy_table, layer_table, spike_line

    profiles = tuple(profile or PROFILES)
    choices = nir_choices(convention, dt, reset, input_shape, steps)
    subject = load_model(model, choices)
    for statement in subject.statements:
        err.print(f"{model}: {statement}")
    x = inputs_for(subject, samples)
    reference = None
    if baseline is not None:
        other = load_model(baseline, choices)
        reference = energy.profile(other.module, x.split(250), name=other.name, profiles=profiles)
    report = energy.profile(subject.module, x.split(250), name=subject.name, baseline=reference, profiles=profiles)
    if output is not None:
        facts = {"Model": model, "Data": subject.data if samples is None else str(samples)}
        paths = energy.write_report(report, output, title=f"Energy of {report.name}", facts=facts)
    if as_json:
        typer.echo(document(report), nl=False)
        return
    out.print(layer_table(report))
    out.print(energy_table(report))
    out.print(spike_line(report))
    for name, reason in report.uncounted.items():
        out.print(f"not counted: {name}: {reason}")
    if output is not None:
        out.print(f"report: {paths['html']}")
