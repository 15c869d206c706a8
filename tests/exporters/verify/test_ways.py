"""Every way of running a bundle is replayed, and what differs first is named with both values."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from neurodeploy_exporters.bundle import read_bundle
from neurodeploy_exporters.bundle.seal import seal
from neurodeploy_exporters.onnx import export
from neurodeploy_exporters.target import find
from neurodeploy_exporters.verify import verify
from neurodeploy_exporters.verify.ways import further_runs


@pytest.fixture(scope="module")
def streaming(tmp_path_factory, graph, digits) -> Path:
    folder = tmp_path_factory.mktemp("streaming") / "b"
    return export(graph("resnet"), digits[0][:5], folder, name="small", quantize="exact", streaming=True)


def ways(folder: Path) -> list[str]:
    bundle = read_bundle(folder)
    return [way for way, _, _ in further_runs(bundle, find(bundle.manifest.target), bundle.sample())]


def test_a_streaming_bundle_is_run_in_chunks_of_one_and_of_other_sizes_whole_and_in_pieces_and_in_batches(streaming):
    pieces = "encoder.onnx, body.onnx, head.onnx"
    assert ways(streaming) == [
        "whole.onnx in chunks of 2, 2 steps",
        "whole.onnx in chunks of 1, 3 steps",
        f"{pieces} in chunks of 1, 1, 1, 1 steps",
        f"{pieces} in chunks of 2, 2 steps",
        f"{pieces} in chunks of 1, 3 steps",
        "whole.onnx in batches of 1",
        "whole.onnx in batches of 3",
    ]
    assert verify(streaming).findings == ()


def test_a_body_on_a_chip_is_run_one_sample_after_the_other_too(bundles):
    for target, body in (("lava", "body.net"), ("residual", "body.circuit"), ("graded", "body.net")):
        assert ways(bundles[target])[-1] == f"encoder.onnx, {body}, head.onnx, one sample after the other"


def test_every_further_way_makes_what_the_sample_says(streaming, bundles):
    for folder in (streaming, *bundles.values()):
        bundle = read_bundle(folder)
        for way, made, part in further_runs(bundle, find(bundle.manifest.target), bundle.sample()):
            for layer, spikes in part.spikes.items():
                assert np.array_equal(made[layer], spikes), (way, layer)
            assert len(made[bundle.manifest.output_name]) == len(part.logits)


def crossed(path: Path, one: str, other: str) -> None:
    """Hand the states of two layers to each other from step to step."""
    model = onnx.load(path)
    (entry,) = (entry for entry in model.metadata_props if entry.key == "states")
    states = json.loads(entry.value)
    states[one], states[other] = states[other], states[one]
    entry.value = json.dumps(states)
    onnx.save(model, path)


def test_states_that_are_handed_to_each_others_layers_in_a_piece_are_found_and_the_first_neuron_is_named(streaming, tmp_path):
    folder = Path(shutil.copytree(streaming, tmp_path / "b"))
    crossed(folder / "body.onnx", "block2.act1.v0", "block2.act2.v0")
    with np.load(folder / "sample.npz") as file:  # without the sums of constants, so that running it must show it
        arrays = {name: array for name, array in file.items() if not name.startswith("constants/")}
    np.savez(folder / "sample.npz", **arrays)
    seal(folder)
    findings = verify(folder).findings
    assert any("in chunks of 1, 1, 1, 1 steps, layer block2.act1" in one for one in findings), findings
    by_single_steps = [one for one in findings if "in chunks of 1, 1, 1, 1 steps, layer block2.act1" in one]
    assert all("first at step 1, sample 0, neuron (" in one for one in by_single_steps)
