"""The energy profiles: constants, sources and scope; or the whole TOML of one, to start a profile of your own from."""

from typing import Annotated

import typer
from rich.table import Table

from neurodeploy.cli.console import out

EXAMPLE = "neurodeploy profiles"


def command(
    name: Annotated[str | None, typer.Argument(help="Print this profile's TOML.", show_default=False)] = None,
) -> None:
    from neurodeploy_energy.cost import built_in, text_of

    if name is not None:
        typer.echo(text_of(name), nl=False)
        return
    table = Table("profile", "pJ per MAC", "pJ per AC", "basis")
    for profile in built_in().values():
        mac, ac = ("-" if cost is None else f"{cost:g}" for cost in (profile.mac, profile.ac))
        table.add_row(profile.name, mac, ac, f"{profile.basis}, {profile.scope}")
    out.print(table)
    for profile in built_in().values():
        out.print(f"{profile.name}: {profile.source}")
    out.print("All energies are estimates: counted operations times these constants.")
