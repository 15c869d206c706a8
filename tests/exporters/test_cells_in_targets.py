"""Networks of cells in the formats that know standard neurons: written as such, compared with the cells, refused by name."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurodeploy.dynamics.updates import Instruction, Operand, Update
from neurodeploy.graph import Graph, interpreter, ops
from neurodeploy.graph.transforms import differences
from neurodeploy.io.errors import UserError
from neurodeploy_exporters import find, nir
from neurodeploy_exporters.bundle import read_bundle
from neurodeploy_exporters.verify import verify

V, X = ("state", 0), ("input", 0)


def result(number: int) -> Operand:
    return ("result", number)


def charging(*after: Instruction, following: int, fired: int = 3) -> Update:
    """`h = v + (x − v) / 2` and `h ≥ 1`, then what is given; `h` is result 2, the spike result 3."""
    charge = (Instruction("sub", (X, V)), Instruction("div", (result(0), ("number", 2))), Instruction("add", (V, result(1))))
    program = (*charge, Instruction("ge", (result(2), ("number", 1))), *after)
    return Update(1, program, (("number", 0),), (result(following),), result(fired))


TO_ZERO = charging(Instruction("where", (result(3), ("number", 0), result(2))), following=4)
HALF = charging(Instruction("mul", (result(3), result(2))), Instruction("mul", (result(4), ("number", 0.5))),
                Instruction("sub", (result(2), result(5))), following=6)  # fmt: skip
DECAY, THRESHOLD = ("array", 0), ("array", 1)
OF_EACH = Update(
    1,
    (
        Instruction("mul", (DECAY, V)),
        Instruction("add", (result(0), X)),
        Instruction("ge", (result(1), THRESHOLD)),
        Instruction("where", (result(2), ("number", 0), result(1))),
    ),
    (("number", 0),),
    (result(3),),
    result(2),
)
LEAK = (Instruction("mul", (V, ("number", 0.75))), Instruction("add", (result(0), X)))
READ_OUT = Update(1, LEAK, (("number", 0),), (result(1),), result(1))


def network(second: ops.Updated, head: ops.Node | None = None) -> Graph:
    """An image on its way through two layers of neurons, of which the first are cells that are LIF neurons."""
    rng = np.random.default_rng(0)
    geometry: dict[str, Any] = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1)}
    members = [
        ops.InputNode(name="input", shape=(2, 6, 6), timed=True),
        ops.ConvNode(name="conv", inputs=("input",), weight=rng.normal(0.3, 1, (4, 2, 3, 3)).astype(np.float32), **geometry),
        ops.CellNode(name="first", inputs=("conv",), update=TO_ZERO),
        ops.AvgPoolNode(name="pool", inputs=("first",), kernel=(2, 2), stride=(2, 2)),
        ops.ConvNode(name="conv2", inputs=("pool",), weight=rng.normal(0.3, 1, (3, 4, 3, 3)).astype(np.float32), **geometry),
        second,
        ops.FlattenNode(name="flat", inputs=("second",)),
        ops.LinearNode(name="fc", inputs=("flat",), weight=rng.normal(size=(5, 27)).astype(np.float32)),
        *([] if head is None else [head]),
        ops.TimeMeanNode(name="mean", inputs=("fc" if head is None else head.name,)),
        ops.OutputNode(name="logits", inputs=("mean",)),
    ]
    return Graph(members)


def cell(update: Update = TO_ZERO, *arrays: np.ndarray) -> ops.CellNode:
    return ops.CellNode(name="second", inputs=("conv2",), update=update, arrays=arrays)


def of_each() -> ops.CellNode:
    decays = np.linspace(0.25, 0.75, 27, dtype=np.float32).reshape(3, 3, 3)
    return cell(OF_EACH, decays, np.linspace(0.5, 2, 27, dtype=np.float32).reshape(3, 3, 3))


def events(batch: int = 6) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 2, (12, batch, 2, 6, 6)).astype(np.float32)


def manifest(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text())


@pytest.mark.parametrize("target", ["nir", "lava"])
def test_cells_that_are_lif_neurons_are_exported_verified_and_compared_with_the_cells(tmp_path, target):
    graph = network(cell())
    folder = find(target).write(graph, events(), tmp_path / target, name="cells")
    assert verify(folder).passed
    written = manifest(folder)
    module = written["module"]
    assert module["spikes_compared"] == 12 * 6 * (4 * 36 + 27)
    noted = next(note for note in written["notes"] if note.startswith("Layers first, second: their own updates are"))
    differing = int(re.search(r"(\d[\d,]*) of [\d,]+ spikes of the sample differ", noted)[1].replace(",", ""))
    assert differing <= 12 * 6 * 171 * 1e-3
    if target == "nir":
        assert module["differing_spikes"] == differing


def test_neurons_that_differ_within_a_layer_are_arrays_in_a_nir_file_which_gives_them_back(tmp_path):
    graph = network(of_each())
    folder = find("nir").write(graph, events(), tmp_path / "bundle", name="cells")
    assert verify(folder).passed
    whole = read_bundle(folder).path("whole.nir")
    deployed = find("nir").deployed(graph, find("nir").options({}))
    assert differences(nir.read(whole), deployed) == ()
    content = nir.content.load(whole)
    neurons = content.nodes["second"]
    decays = graph["second"].arrays[0].astype(np.float64)
    assert neurons.kind == "LIF"
    assert np.allclose(neurons.fields["tau"], 1e-4 / (1 - decays))
    assert np.allclose(neurons.fields["r"], 1 / (1 - decays))
    assert np.allclose(neurons.fields["v_threshold"], graph["second"].arrays[1])
    before, after = interpreter.run(graph, events()), interpreter.run(deployed, events())
    assert np.count_nonzero(before["second"] != after["second"]) <= 1e-3 * before["second"].size


def test_a_nir_file_whose_arrays_were_changed_is_refused(tmp_path):
    graph = find("nir").deployed(network(of_each()), find("nir").options({}))
    content = nir.files.content_of(graph)
    other = {key: value / 2 if key == "second.array1" else value for key, value in content.metadata.items()}
    nir.content.store(nir.content.Content(content.nodes, content.edges, other), tmp_path / "odd.nir")
    with pytest.raises(UserError, match="node second, field v_threshold is not what the metadata of neurodeploy tell"):
        nir.read(tmp_path / "odd.nir")


@pytest.mark.parametrize(("target", "place"), [("nir", "in NIR"), ("lava", "on Loihi")])
def test_what_is_no_standard_neuron_is_refused_by_name_with_the_reason_and_what_to_do(tmp_path, target, place):
    graph, exporter = network(cell(HALF)), find(target)
    message = rf"node second \(Cell\): has no form {place}, .*: its neurons reset a part of .*; train"
    with pytest.raises(UserError, match=message):
        exporter.check(graph, exporter.options({}))
    with pytest.raises(UserError, match=message):
        exporter.write(graph, events(), tmp_path / target, name="cells")


def test_neurons_that_differ_within_a_layer_have_no_form_on_loihi():
    lava = find("lava")
    with pytest.raises(UserError, match=r"node second \(Cell\): .*: constants differ between the neurons of a channel; train"):
        lava.check(network(of_each()), lava.options({}))


@pytest.mark.parametrize("target", ["nir", "lava"])
def test_a_membrane_of_a_kind_of_its_own_stays_in_a_head_on_the_host(tmp_path, target):
    odd = Update(1, (*READ_OUT.instructions, Instruction("tanh", (result(1),))), READ_OUT.initial, (result(2),), result(1))
    for update in (READ_OUT, odd):
        head = ops.MembraneNode(name="membrane", inputs=("fc",), update=update)
        folder = find(target).write(network(cell(), head), events(), tmp_path / target, name="cells")
        assert verify(folder).passed
        files = {piece["file"] for piece in manifest(folder)["pieces"]}
        assert "head.onnx" in files
        assert ("whole.nir" in files) == (target == "nir" and update is READ_OUT)


def test_layers_keep_their_place_on_host_or_chip_under_their_own_names():
    graph = network(cell())
    for target in ("nir", "lava"):
        exporter = find(target)
        places = exporter.places(graph, exporter.options({}))
        assert {places[name] for name in ("conv", "first", "conv2", "second")} == {"body"}
        assert places["fc"] == "head"
