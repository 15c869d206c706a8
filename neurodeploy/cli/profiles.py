"""The energy profiles with their sources, beside published measurements; or the TOML of one, to start your own from."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from neurodeploy.cli.choices import AsJson
from neurodeploy.cli.console import out

EXAMPLE = "neurodeploy profiles"


def command(
    name: Annotated[str | None, typer.Argument(help="Print this profile's TOML.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    from neurodeploy_energy.price.profiles import built_in, load, published_inferences, templates, text_of
    from neurodeploy_energy.price.profiles import load_memory_model as load_model
    from neurodeploy_energy.price.profiles import memory_model_names as models

    if as_json:
        chosen = built_in() if name is None else {name: load(name)}
        out.print_json(json.dumps({key: asdict(profile) for key, profile in chosen.items()}, default=str))
        return
    if name is not None:
        typer.echo(text_of(name), nl=False)
        return
    table = Table("profile", "pJ per MAC", "pJ per AC", "process", "basis")
    for profile in built_in().values():
        mac, ac = ("-" if cost is None else f"{cost:,.10g}" for cost in (profile.mac, profile.ac))
        scope = f"{profile.scope}, all-in" if profile.all_in else profile.scope
        table.add_row(profile.name, mac, ac, profile.process, f"{profile.basis}, {scope}")
    for template in templates():
        table.add_row(template, "yours", "yours", "", "template")
    out.print(table)
    for profile in built_in().values():
        out.print(f"{profile.name}: {profile.source}")
    for template, reason in templates().items():
        out.print(f"{template}: {reason}; start your own with: neurodeploy profiles {template} > my-{template}.toml")
    for model in map(load_model, models()):
        out.print(f"+{model.name}: behind a cmos45 profile, {model.title[0].lower()}{model.title[1:]}: {model.source}")
    measured = Table(
        "chip", "µJ", "task", title="measured per inference, as published: they price nothing", title_justify="left"
    )
    for one in published_inferences():
        measured.add_row(one.chip, f"{one.uj:g}", one.task)
    out.print(measured)
    for source in dict.fromkeys(one.source for one in published_inferences()):
        out.print(source)
    out.print("Energies under profiles are estimates: counted operations times these constants.")
