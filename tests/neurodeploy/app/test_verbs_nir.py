"""`nd.load` of a NIR file: who wrote it can be said, and its cells' spikes are counted by `nd.evaluate`."""

import nir
import numpy as np
import pytest
import torch

import neurodeploy as nd
from neurodeploy.io.errors import UserError

DT = 1e-4


@pytest.fixture
def written(tmp_path):
    """One layer as snnTorch writes it: beta 0.5, R = tau/dt."""
    tau = np.full(4, DT / 0.5, np.float32)
    lif = nir.LIF(tau=tau, r=tau / np.float32(DT), v_leak=np.zeros(4, np.float32), v_threshold=np.ones(4, np.float32))
    nodes = {
        "input": nir.Input({"input": np.array([3])}),
        "fc": nir.Linear(np.random.default_rng(0).normal(0.6, 1, (4, 3)).astype(np.float32)),
        "lif": lif,
        "output": nir.Output({"output": np.array([4])}),
    }
    path = tmp_path / "x.nir"
    nir.write(path, nir.NIRGraph(nodes, [("input", "fc"), ("fc", "lif"), ("lif", "output")]))
    return path


SPIKES = (torch.rand(20, 12, 3, generator=torch.Generator().manual_seed(0)) < 0.6).float()
LABELS = torch.zeros(20, dtype=torch.long)


def test_who_wrote_a_nir_file_decides_how_its_neurons_are_reset(written):
    late = nd.load(written, written_by="snntorch").module
    once = nd.load(written, written_by="snntorch:reset_mechanism=zero,reset_delay=false").module
    fired = [nd.evaluate(one, SPIKES, LABELS).spikes for one in (late, once)]
    assert all(spikes.keys() == {"lif"} and spikes["lif"] > 0 for spikes in fired)
    assert fired[0] != fired[1]


def test_choices_of_nir_files_are_refused_of_other_models(tmp_path):
    with pytest.raises(UserError, match=r"written_by, dt: say how a NIR file is understood"):
        nd.load(tmp_path / "checkpoint.safetensors", written_by="norse")
