"""The JSON schema of a file format, or which formats have one."""

import json
from typing import Annotated

import typer

from neurodeploy.cli.choices import AsJson
from neurodeploy.cli.console import out, print_json
from neurodeploy.io.errors import UserError

EXAMPLE = "neurodeploy schema checkpoint > checkpoint.schema.json"


def command(
    name: Annotated[str | None, typer.Argument(help="Of the format; without it, all are listed.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    from neurodeploy.app.schemas import FORMATS, schema_of

    if name is None and as_json:
        out.print_json(json.dumps({known: what for known, (what, _) in FORMATS.items()}))
        return
    if name is None:
        for known, (what, _) in FORMATS.items():
            out.print(f"{known}: {what}")
        return
    if name not in FORMATS:
        raise UserError(f"{name}: no format of this toolkit; there are: {', '.join(FORMATS)}")
    print_json(json.dumps(schema_of(name), indent=2, ensure_ascii=False) + "\n")
