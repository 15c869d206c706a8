"""Runs every small network of the tests, exported in every way, with several versions of ONNX Runtime, and compares the spikes.

    python -m checks.onnx_versions --folder runs/onnx-versions 1.19.2 1.20.1 1.23.2 newest

The models are exported once, here; each version has an environment of its own in the folder, with ONNX Runtime and what it
needs. Spikes are compared with those of the reference interpreter; those of 8-bit integers with those of ONNX Runtime here.
Exit code 1 if a model does not run, an exact one fires another spike, or a count or answer is wrong.
"""

import argparse
import json
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from rich.table import Table

from neurodeploy.cli.console import out
from neurodeploy.graph import Graph, interpreter, partition
from neurodeploy.graph.grid import to_grid
from neurodeploy_exporters.onnx import Session, build
from neurodeploy_exporters.onnx.build import STATES
from neurodeploy_exporters.onnx.target import calibrate
from tests.conftest import SMALL
from tests.exporters.onnx.conftest import firing

_NEURONS = (("LIF", "hard", False), ("IF", "soft", True), ("CUBA", "soft", False), ("PLIF", "hard", True))
_KINDS = ("none", "exact", "int8")
_STEPS, _CHUNKS = 8, (1, 3, 4)
_NEWEST = "newest"


def export_all(folder: Path) -> int:
    """Write every model with its inputs, and what it is to answer; returns how many cases there are."""
    count = 0
    for name, small in SMALL.items():
        for neuron, reset, repact in _NEURONS:
            torch.manual_seed(0)
            graph = firing(small, neuron, reset, repact)
            for kind in _KINDS:
                for form, case in cases_of(graph, kind):
                    write(folder / f"{name}-{neuron}-{kind}-{form}".replace(" ", "_"), case)
                    count += 1
    return count


def cases_of(trained: Graph, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name of the form → models in sequence, and all that is to be known of them."""
    graph = to_grid(trained) if kind == "exact" else trained
    x = (np.random.default_rng(0).integers(0, 257, (4, *graph.input.shape)) / 256).astype(np.float32)
    grids = calibrate(graph, x, _STEPS) if kind == "int8" else None
    parts = partition(graph, spikes_only=False).parts
    expected = interpreter.run(graph, x, steps=_STEPS)
    forms = {
        "whole": [build(graph, name="n", grids=grids)],
        "pieces": [build(graph, part, name=part.name, grids=grids) for part in parts],
        "streaming": [build(graph, name="n", streaming=True, spike_counts=True, grids=grids)],
    }
    for form, models in forms.items():
        session = Session(models, also=graph.spiking)
        answer = session.run({"input": x}, steps=_STEPS) if kind == "int8" else expected
        yield (
            form,
            {
                "kind": kind,
                "models": [_exposing(model, graph) for model in models],
                "input": x,
                "steps": _STEPS,
                "chunks": _CHUNKS,
                "layers": graph.spiking,
                "states": {} if form != "streaming" else _states(models[0]),
                "counts": session.counts,
                "spikes": {layer: answer[layer].astype(np.uint8) for layer in graph.spiking},
                "logits": answer["logits"],
            },
        )


def _states(model: onnx.ModelProto) -> dict[str, str]:
    found: dict[str, str] = json.loads(next(entry.value for entry in model.metadata_props if entry.key == STATES))
    return found


def _exposing(model: onnx.ModelProto, graph: Graph) -> onnx.ModelProto:
    """The model with the spikes of its layers among its outputs."""
    made = {name for node in model.graph.node for name in node.output} - {value.name for value in model.graph.output}
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(layer, onnx.TensorProto.FLOAT, None) for layer in graph.spiking if layer in made
    )
    return model


def write(path: Path, case: dict[str, Any]) -> None:
    names = []
    for number, model in enumerate(case.pop("models")):
        names.append(f"{path.name}-{number}.onnx")
        (path.parent / names[-1]).write_bytes(model.SerializeToString())
    spikes = {f"spikes/{layer}": values for layer, values in case.pop("spikes").items()}
    np.savez(f"{path}.npz", input=case.pop("input"), logits=case.pop("logits"), **spikes)
    Path(f"{path}.json").write_text(json.dumps({**case, "models": names}), encoding="utf-8")


def replay_with(version: str, folder: Path) -> dict[str, Any]:
    """What the models do with one version."""
    place = folder / f"venv-{version}"
    python = place / "bin" / "python"
    if version == _NEWEST or not (place / "ready").exists():  # what is newest changes
        venv.create(place, with_pip=True, clear=True)
        package = "onnxruntime" if version == _NEWEST else f"onnxruntime=={version}"
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", package], check=True)
        (place / "ready").touch()
    script = Path(__file__).with_name("onnx_replay.py")
    ended = subprocess.run([python, "-I", script, folder / "models"], check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def table_of(results: list[dict[str, Any]]) -> Table:
    """One row for each version."""
    compared = results[0]["found"]["exact"].get("compared", 0)
    columns = ("ONNX Runtime", "numpy", "cases", "failed", "exact: wrong", "float: wrong", "int8: others", "counts")
    table = Table(*columns, title=f"{compared:,} spikes of each kind compared")
    for result in results:
        found = result["found"]
        total = sum(kind.get("models", 0) for kind in found.values())
        wrong = sum(kind.get("wrong_counts", 0) for kind in found.values())
        spikes = [f"{found[kind].get('wrong', 0):,}" for kind in ("exact", "none", "int8")]
        counts = f"{wrong} wrong" if wrong else "right"
        table.add_row(result["onnxruntime"], result["numpy"], f"{total:,}", str(len(result["failures"])), *spikes, counts)
    return table


def sound(result: dict[str, Any]) -> bool:
    """Whether a version does all that it must."""
    found = result["found"]
    counted = not any(kind.get("wrong_counts", 0) for kind in found.values())
    exact = not found["exact"].get("wrong", 0) and not found["exact"].get("far_logits", 0)
    return counted and exact and not result["failures"] and found["exact"].get("models", 0) > 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/onnx-versions"))
    parser.add_argument("versions", nargs="*", default=["1.19.2", "1.20.1", "1.23.2", _NEWEST])
    arguments = parser.parse_args()
    models = arguments.folder / "models"
    shutil.rmtree(models, ignore_errors=True)
    models.mkdir(parents=True)
    out.print(f"{export_all(models):,} cases exported to {models}")
    results = [replay_with(version, arguments.folder) for version in arguments.versions]
    out.print(table_of(results))
    for result in results:
        for failure in result["failures"]:
            out.print(f"{result['onnxruntime']}: {failure}")
    return 0 if all(sound(result) for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
