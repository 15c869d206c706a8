"""The embedded recipes, or the whole text of one, to start a recipe of your own from."""

from typing import Annotated

import typer
from rich.table import Table

from neurodeploy.cli.console import out

EXAMPLE = "neurodeploy recipes digits > my-recipe.toml"


def command(
    name: Annotated[str | None, typer.Argument(help="Print this recipe's TOML.", show_default=False)] = None,
) -> None:
    from neurodeploy.recipe import built_in, text_of

    if name is not None:
        typer.echo(text_of(name), nl=False)
        return
    table = Table("recipe", "what it trains")
    for recipe in built_in().values():
        table.add_row(recipe.name, recipe.description)
    out.print(table)
