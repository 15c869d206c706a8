"""Sign a bundle, so that others can tell whose it is and that no byte of it was changed; needs no network."""

import json
from pathlib import Path
from typing import Annotated

import typer

from neurodeploy.cli.choices import AsJson
from neurodeploy.cli.console import err, out

EXAMPLE = "neurodeploy sign runs/demo/seed-0/bundles/onnx --key key.pem"


def command(
    bundle: Annotated[Path, typer.Argument(help="A bundle's folder; the signature is written into it.", show_default=False)],
    key: Annotated[
        Path,
        typer.Option(
            help="Private key in PEM, on an elliptic curve (`openssl ecparam -name prime256v1 -genkey -noout -out key.pem`); "
            "`openssl ec -in key.pem -pubout -out key.pub` makes the public one that others check with.",
            show_default=False,
        ),
    ],
    as_json: AsJson = False,
) -> None:
    from neurodeploy.app.ready import located
    from neurodeploy_exporters.verify.signing import sign

    path = sign(Path(located(bundle, err.print)), key)
    if as_json:
        out.print_json(json.dumps({"bundle": str(path.parent), "signature": str(path)}))
        return
    out.print(f"{path}: written; check it with: neurodeploy verify {path.parent} --identity PUBLIC_KEY")
