"""Exporting the network of a NIR file: its samples come from a file too."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neurodeploy.app.model import NirChoices, inputs_for, load_model
from neurodeploy.app.targets import Exporter, Quantization, further_options
from neurodeploy.cli.console import err, out
from neurodeploy.io.errors import UserError


def export_imported(
    path: Path,
    choices: NirChoices,
    exporters: Mapping[str, Exporter],
    inputs: Path | None,
    output: Path | None,
    *,
    quantize: Quantization,
    count: int,
    calibration: int,
    chosen: Mapping[str, Any],
) -> None:
    """Write a bundle for each target, and say what was assumed of the file.

    The bundles carry the first `count` samples of `inputs`; those after them, `calibration` at most, are for targets that
    choose how they round. `chosen` are further arguments of exporters by name (see `neurodeploy.app.targets.further_options`).

    Raises:
        UserError: the file or its samples cannot be used, or a target cannot express the network.
    """
    model = load_model(str(path), choices)
    for statement in model.statements:
        err.print(f"{path}: {statement}")
    if model.graph is None:
        raise UserError(f"{path}: not a NIR file")
    samples = inputs_for(model, inputs)
    timed = model.graph.input.timed
    carried, rest = samples[:count], samples[count : count + calibration]
    layout = [part.transpose(0, 1).contiguous().numpy() if timed else part.numpy() for part in (carried, rest)]
    options = further_options(exporters, **chosen, calibration=layout[1] if len(rest) else None)
    for name, exporter in exporters.items():
        folder = exporter(
            model.graph,
            layout[0],
            (output or path.parent / "bundles") / name,
            name=model.name,
            quantize=quantize,
            accuracy={},
            test=None,
            **options[name],
        )
        out.print(f"{folder}: written; check it with: neurodeploy verify {folder}")
