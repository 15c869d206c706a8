"""Replay the artefacts of a bundle and compare every spike and logit with its sample, or check a `.net` file; exit code 1 if
anything differs."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from neurodeploy.cli.choices import AsJson
from neurodeploy.cli.console import err, out
from neurodeploy.io.errors import Failure, UserError

EXAMPLE = "neurodeploy verify runs/demo/seed-0/bundles/onnx"


def command(
    bundle: Annotated[Path, typer.Argument(help="A bundle's folder, or a Loihi .net or .circuit file.", show_default=False)],
    as_json: AsJson = False,
    mutate: Annotated[
        int,
        typer.Option(
            min=0,
            help="Then change so many values of a copy, each alone and by its smallest step, and say how many are seen.",
        ),
    ] = 0,
    identity: Annotated[
        Path | None,
        typer.Option(
            help="Public key in PEM of whoever must have signed the bundle (see `neurodeploy sign`).", show_default=False
        ),
    ] = None,
) -> None:
    from neurodeploy.app.origins import is_chip_file
    from neurodeploy.app.ready import located
    from neurodeploy_exporters.verify import verify
    from neurodeploy_exporters.verify.mutation import mutation_scores
    from neurodeploy_exporters.verify.signing import check_signature

    bundle = Path(located(bundle, err.print))
    if is_chip_file(bundle) and not bundle.is_dir():
        for option, given in (("mutate", mutate), ("identity", identity)):
            if given:
                raise UserError(f"--{option}: for bundles, the file {bundle} found; leave it out")
        _check_file(bundle, as_json=as_json)
        return
    if identity is not None:
        check_signature(bundle, identity)
    outcome = verify(bundle)
    scores = list(mutation_scores(bundle, mutate)) if mutate and outcome.passed else []
    if as_json:
        told: dict[str, object] = {"mutations": [asdict(score) for score in scores]} if mutate else {}
        told |= {"signed_by": str(identity)} if identity is not None else {}
        out.print_json(json.dumps({"bundle": str(bundle), **outcome.as_document(), **told}))
    else:
        out.print(str(outcome))
    if not outcome.passed:
        raise Failure(f"{bundle}: not verified, {len(outcome.findings)} findings")
    if not as_json:
        signed = "" if identity is None else f", and signed by the owner of {identity}"
        out.print(f"{bundle}: verified{signed}")
        for score in scores:
            out.print(str(score))


def _check_file(path: Path, *, as_json: bool) -> None:
    from neurodeploy.app.model import check_chip_file

    found = check_chip_file(path)
    if as_json:
        out.print_json(json.dumps({"file": str(path), "passed": found.passed, **asdict(found)}))
    else:
        out.print(f"{found.neurons:,} neurons, {found.synapses:,} synapses")
        if found.compared:
            values = f"{found.compared:,} {'message' if found.graded else 'spike'} values"
            sent, second = ("messages", "torch") if found.graded else ("spikes", "interpreter")
            out.print(f"{values} ({found.spikes:,} {sent}) of random inputs: simulator and {second}")
        for note in found.notes:
            out.print(note)
        for finding in found.findings:
            out.print(f"differs: {finding}" if "differ" in finding else f"not on a chip: {finding}")
    if not found.passed:
        raise Failure(f"{path}: not verified, {len(found.findings)} findings")
    if not as_json:
        out.print(f"{path}: verified")
