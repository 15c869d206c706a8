"""Every network of the package is exported, cut at either place, and its parts fire and answer what the interpreter does."""

import numpy as np
import pytest

from neurodeploy.graph import fold_batch_norm
from neurodeploy.graph.tracing import trace
from neurodeploy.io.errors import UserError
from neurodeploy.networks import ResNet1dSpec
from neurodeploy_exporters import lava
from neurodeploy_exporters.bundle import read_bundle
from neurodeploy_exporters.verify import verify

both = pytest.mark.parametrize("repact", [False, True])
cuts = pytest.mark.parametrize("head_cut", ["last-spike", "last-synapse"])


def refusal(spec, repact: bool, head_cut: str) -> str | None:
    if getattr(spec, "residual", None) == "ms":  # its currents bypass the neurons
        return "node block2.add: its values are not spikes" if repact else "node stem_pool: average pooling after the synapse"
    if isinstance(spec, ResNet1dSpec) and spec.pool == "max" and not repact and head_cut == "last-synapse":
        return r"head: pool \(MaxPool\) stands between the last spikes and the last synapse"
    return None


@both
@cuts
@pytest.mark.parametrize("quantize", ["none", "exact"])
def test_encoder_body_and_head_reproduce_the_interpreter_or_the_network_is_refused(
    small, spiking, tmp_path, repact, head_cut, quantize
):
    graph = fold_batch_norm(trace(small.build(spiking(repact=repact, decay=0.5), trained=True), small.shape))
    x = (np.rint(small.samples(5).numpy() * 256) / 256).astype(np.float32)

    def export():
        return lava.export(graph, x, tmp_path / "b", name="n", quantize=quantize, head_cut=head_cut)

    message = refusal(small.spec, repact, head_cut)
    if message is not None:
        with pytest.raises(UserError, match=message):
            export()
        return
    folder = export()
    outcome, manifest = verify(folder), read_bundle(folder).manifest
    assert outcome.findings == ()
    assert sum(outcome.mismatched_spikes.values()) == 0
    assert outcome.spikes_compared > 0
    assert manifest.chain[1].format == ("circuit" if hasattr(small.spec, "residual") else "net")
    assert {piece.name for piece in manifest.chain} == {"encoder", "body", "head"}
    assert bool(manifest.chain[1].graded) is (head_cut == "last-synapse")
    exact = {layer.name for layer in manifest.spiking_layers} & manifest.quantization["layers"].keys()
    errors = [s["weight_error"] for n in exact for s in manifest.quantization["layers"][n]["synapses"].values()]
    assert errors
    assert all(error == 0 for error in errors) is (quantize == "exact")


@both
@cuts
def test_networks_fed_by_events_are_exported_too(small, spiking, tmp_path, repact, head_cut):
    if refusal(small.spec, repact, head_cut) is not None:
        pytest.skip("refused for the same reason as the network fed by images")
    network = small.build(spiking(3, "events", repact=repact, decay=0.5)).eval()
    graph = fold_batch_norm(trace(network, small.shape, timed=True))
    x = small.samples(4, steps=3).transpose(0, 1).contiguous().numpy()
    folder = lava.export(graph, x, tmp_path / "b", name="n", head_cut=head_cut)
    assert verify(folder).findings == ()
    assert {piece.name for piece in read_bundle(folder).manifest.chain} == {"body", "head"}
