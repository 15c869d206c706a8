"""The embedded recipes, or the whole text of one, to start a recipe of your own from."""

import json
from typing import Annotated

import typer
from rich.table import Table

from neurodeploy.cli.choices import AsJson
from neurodeploy.cli.console import out

EXAMPLE = "neurodeploy recipes digits > my-recipe.toml"


def command(
    name: Annotated[str | None, typer.Argument(help="Print this recipe's TOML.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    from neurodeploy.recipe import built_in, load, text_of

    if as_json:
        recipes_by_name = built_in()
        listed = [{"name": recipe.name, "description": recipe.description} for recipe in recipes_by_name.values()]
        out.print_json(json.dumps(listed) if name is None else load(name).model_dump_json())
        return
    if name is not None:
        typer.echo(text_of(name), nl=False)
        return
    table = Table("recipe", "what it trains")
    for recipe in built_in().values():
        table.add_row(recipe.name, recipe.description)
    out.print(table)
