"""Networks of other frameworks: they fire as they should, and what becomes of them is told as it is."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import checks.foreign.page
import checks.foreign_modules
import neurodeploy as nd
from checks.foreign.arriving import Arrival, arrival, compared
from checks.foreign.firing import trained_like
from checks.foreign.models.loops import SUITE as LOOPS
from checks.foreign.networks import BATCH, STEPS, Framework, Network, Suite
from checks.foreign.page import page
from checks.foreign.recording import record
from checks.foreign.soundness import checked
from neurodeploy.dynamics.layers import Neuron, TimeMean
from neurodeploy.graph import interpreter

ROOT = Path(__file__).parents[2]
OWN = Suite(Framework("own", "Own", "torch", spiking=lambda module: isinstance(module, Neuron)))


@OWN.network("deep", "linear, LIF, twice", "sequence", "sequence", shape=(20,), width=16)
def _deep(shape, width):
    first, last = nd.LIF(decay=0.5), nd.LIF(decay=0.5)
    return nn.Sequential(nn.Linear(shape[0], width), first, nn.Linear(width, 5), last, TimeMean())


class Sorted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc, self.lif = nn.Linear(20, 16), nd.LIF(decay=0.5)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sort(self.lif(self.fc(x)), -1).values


class IFNode(nn.Module):
    """Fires at v ≥ 1, and is then reset to 0; named as SpikingJelly's."""

    def forward(self, currents: Tensor) -> Tensor:
        v, spikes = torch.zeros_like(currents[0]), []
        for current in currents:
            v = v + current
            spikes.append((v >= 1.0).float())
            v = v * (1 - spikes[-1])
        return torch.stack(spikes)


def network(**changes) -> Network:
    return replace(OWN.networks["own-deep"], **changes)


def unproven(monkeypatch) -> None:
    """The toolkit's own neurons are no other framework's, whose equations are written down twice."""
    monkeypatch.setattr("checks.foreign.soundness._follows", lambda *_: None)


def test_a_network_that_the_toolkit_can_take_arrives_and_is_verified(monkeypatch):
    unproven(monkeypatch)
    found = arrival(network())
    assert (found.verdict, found.detail, found.onnx) == ("arrived", "", "verified")
    assert found.values == STEPS * BATCH * (16 + 5)
    assert str(found) == "arrived (1,344 spikes equal)"


def test_a_network_without_a_form_in_a_graph_is_refused_with_the_message_of_the_user(monkeypatch):
    unproven(monkeypatch)
    found = arrival(network(make=lambda *_: Sorted()))
    assert (found.verdict, found.onnx) == ("refused", "")
    assert "sort" in found.detail


def test_an_error_that_is_no_message_for_users_is_a_failure(monkeypatch):
    unproven(monkeypatch)
    monkeypatch.setattr("checks.foreign.arriving.nd.deploy", lambda *_, **__: 1 // 0)
    found = arrival(network())
    assert found.verdict == "failed"
    assert found.detail.startswith("ZeroDivisionError: ")


def test_other_spikes_are_counted_and_the_first_layer_and_step_named():
    made = network().built()
    inputs = network().inputs()
    recording = trained_like(network(), made, inputs)
    model = nd.deploy(made, inputs, batch_axis=1)
    tensors = interpreter.run(model.graph, inputs.numpy())
    assert compared(recording, model.graph, tensors) == (1344, 0, "")
    recording.spikes["3"][7, 2] = 1 - recording.spikes["3"][7, 2]
    total, different, detail = compared(recording, model.graph, tensors)
    assert (total, different) == (1344, 5)
    assert detail == "first in 3, step 7: 5 of 320 spikes of this layer"


def test_an_output_that_differs_is_found_where_the_spikes_are_equal():
    made, inputs = network().built(), network().inputs()
    recording = trained_like(network(), made, inputs)
    model = nd.deploy(made, inputs, batch_axis=1)
    tensors = interpreter.run(model.graph, inputs.numpy())
    other = replace(recording, output=recording.output + np.float32(0.5))
    assert compared(other, model.graph, tensors)[2] == "output: 20 of 20 values, by 0.5 at most"


def test_layers_are_brought_to_fire_as_much_as_trained_ones():
    made, inputs = network().built(), network().inputs()
    nn.init.constant_(made[0].weight, 1e-2)
    recording = trained_like(network(), made, inputs)
    assert all(0.05 <= rate <= 0.30 for rate in recording.rates().values())


def test_a_layer_that_never_fires_is_named():
    made, inputs = network().built(), network().inputs()
    nn.init.constant_(made[0].weight, -1.0)
    nn.init.constant_(made[0].bias, 0.0)
    with pytest.raises(ValueError, match=r"own-deep: 1 fires 0\.0% whatever its weights are multiplied by"):
        trained_like(network(), made, inputs)


@pytest.mark.parametrize("name", LOOPS.networks)
def test_neurons_that_are_written_out_are_recorded_layer_by_layer(name):
    one = LOOPS.networks[name]
    made, inputs = one.built(), one.inputs()
    recording = trained_like(one, made, inputs)
    checked(one, made, recording)
    assert tuple(recording.spikes) == one.layers
    again = record(one, made, inputs)
    assert all(np.array_equal(values, again.spikes[layer]) for layer, values in recording.spikes.items())


def test_a_recording_that_its_equation_does_not_explain_is_not_believed():
    def of(threshold: float) -> Network:
        constants = {"v_threshold": threshold, "v_reset": 0.0}
        framework = Framework("own", "Own", "torch", lambda module: isinstance(module, IFNode), constants=lambda _: constants)
        return network(framework=framework, make=lambda *_: nn.Sequential(nn.Linear(20, 16), IFNode()))

    made, inputs = of(1.0).built(), network().inputs()
    recording = trained_like(of(1.0), made, inputs)
    checked(of(1.0), made, recording)
    with pytest.raises(ValueError, match=r"own-deep: 1 fires otherwise than its equation in [0-9]+ of 1,024 values"):
        checked(of(0.75), made, recording)


def row(**changes) -> dict:
    found = Arrival("norse-lif", "norse", {"1": 0.08, "3": 0.2}, "arrived", "", 1344, 0, "verified", 0.5)
    return {"what": "two LIF", "called": "a sequence", **found.as_document(), **changes}


def document(*rows: dict) -> dict:
    return {"frameworks": {"norse": {"title": "Norse", "versions": {"norse": "1.1.0"}}}, "networks": list(rows)}


def test_the_page_has_a_row_for_every_network():
    text = page(
        [
            document(
                row(),
                row(what="three", verdict="refused", detail="layer `a|b`: no", onnx=""),
                row(what="four", verdict="differs", detail="first in 1", different=3, rates={"1": 0.1}),
            )
        ]
    )
    assert "3 networks: 1 arrive with every spike equal, 2 of them are verified as ONNX." in text
    assert "### Norse\n\nWith norse 1.1.0.\n" in text
    assert "| two LIF | a sequence | 2 layers, 8 to 20 % | arrived: 1,344 of 1,344 spikes equal | verified |" in text
    assert "| three | a sequence | 2 layers, 8 to 20 % | refused: layer \\`a/b\\`: no | – |" in text
    assert "| four | a sequence | 1 layer, 10 % | differs: 3 of 1,344 spikes; first in 1 | verified |" in text


def test_the_page_in_the_documentation_is_the_one_that_was_written_here():
    head = Path(checks.foreign.page.__file__).with_name("head.md").read_text(encoding="utf-8")
    written = (ROOT / "docs" / "foreign.md").read_text(encoding="utf-8")
    assert written.startswith(head.rstrip())
    assert all(one.what in written for one in LOOPS.networks.values())


def test_a_framework_whose_program_dies_is_named_without_a_traceback(tmp_path, monkeypatch):
    python = tmp_path / ".venv-foreign-norse" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr("sys.argv", ["foreign", "--environments", f"{tmp_path}/.venv-foreign-", "--framework", "norse"])
    with pytest.raises(SystemExit, match=r"^error: norse: the networks could not be run in .*: it ended with 1 and no answer$"):
        checks.foreign_modules.main()
