"""Cells in the energy count: updates as they are, answers that come back as events of a synapse, graded answers."""

import numpy as np
import pytest
import torch
from torch import nn

from neurodeploy.dynamics.cells import Cell
from neurodeploy.dynamics.updates import Instruction, Update
from neurodeploy_energy import account

V, A, X = ("state", 0), ("state", 1), ("input", 0)
NUMBER = ("number", 0.5)
ADAPTIVE = Update(
    1,
    (
        Instruction("exp", (("array", 0),)),  # of a constant: once
        Instruction("mul", (V, ("result", 0))),
        Instruction("add", (("result", 1), X)),
        Instruction("add", (("number", 1), A)),
        Instruction("gt", (("result", 2), ("result", 3))),
        Instruction("where", (("result", 4), ("number", 0), ("result", 2))),
        Instruction("mul", (A, NUMBER)),
        Instruction("add", (("result", 6), ("result", 4))),
        Instruction("neg", (X,)),
    ),
    (("number", 0), ("number", 0)),
    (("result", 5), ("result", 7)),
    ("result", 4),
)
COUNTING = Update(
    1,
    (
        Instruction("add", (V, X)),
        Instruction("floor", (("result", 0),)),
        Instruction("maximum", (("result", 1), ("number", 0))),
        Instruction("sub", (("result", 0), ("result", 2))),
    ),
    (("number", 0),),
    (("result", 3),),
    ("result", 2),
)
ADDING = Update(2, (Instruction("add", (X, ("input", 1))), Instruction("gt", (("result", 0), NUMBER))), (), (), ("result", 1))


class Network(nn.Module):
    """Events, a synapse, cells, a synapse; `[B, T, 6]`."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.first, self.cell, self.second = nn.Linear(6, 4), cell, nn.Linear(4, 3)
        with torch.no_grad():
            self.first.weight.copy_(torch.arange(24.0).reshape(4, 6) / 16)

    def forward(self, x):
        return self.second(self.cell(self.first(x.transpose(0, 1)))).mean(0)


@pytest.fixture
def events():
    return (torch.rand(5, 8, 6, generator=torch.Generator().manual_seed(1)) < 0.3).float()


def counted(cell: nn.Module, events: torch.Tensor):
    network = Network(cell).eval()
    with torch.no_grad():
        spikes = cell(network.first(events.transpose(0, 1)))
    return account(network, [events], profiles=[]), spikes


def test_an_update_is_counted_for_each_neuron_and_step_with_the_operations_that_it_has(events):
    report, spikes = counted(Cell(ADAPTIVE, [np.float32([0.0])]), events)
    row = report.layer("cell")
    assert (row.neurons, row.steps, row.spikes) == (4, 8, float(spikes.sum()) / 5)
    assert row.spikes > 0
    assert row.updates_active + row.updates_idle == 32
    assert "one update of a neuron: 2 multiplications, 3 additions, 2 comparisons, 1 other" in row.note
    assert (row.memory.potential_reads, row.memory.potential_writes) == (64, 64)
    assert report.layer("first").geometry.leaky is True


def test_what_comes_back_is_events_of_a_synapse(events):
    weights = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
    report, spikes = counted(Cell(ADDING, recurrent=weights, recurrent_bias=np.zeros(4, np.float32)), events)
    row = report.layer("cell: linear recurrent")
    assert 0 < spikes[:-1].sum() < spikes[:-1].numel()
    assert row.kind == "synapse"
    assert row.sops == float(spikes[:-1].sum()) * 4 / 5
    assert row.macs == 0
    assert report.uncounted == {}


def test_several_spikes_of_a_step_are_as_many_events(events):
    report, counts = counted(Cell(COUNTING, largest=None), events)
    assert counts.max() > 1
    row = report.layer("cell")
    assert row.spikes == float((counts != 0).sum()) / 5
    assert row.spikes_value == float(counts.sum()) / 5
    assert report.layer("second").sops == float(counts.sum()) * 3 / 5


def test_a_membrane_never_fires(events):
    membrane = Update(1, (Instruction("add", (V, X)),), (("number", 0),), (("result", 0),), ("result", 0))
    report, _ = counted(Cell(membrane, spiking=False), events)
    row = report.layer("cell")
    assert row.spikes == 0
    assert "integrates and never fires" in row.note
    assert report.layer("first").geometry.leaky is False


def test_an_update_of_several_currents_is_active_if_one_of_them_is_not_zero():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.other, self.cell, self.head = (
                nn.Linear(6, 4, bias=False),
                nn.Linear(6, 4, bias=False),
                Cell(ADDING),
                nn.Linear(4, 2),
            )

        def forward(self, x):
            x = x.transpose(0, 1)
            return self.head(self.cell(self.one(x), self.other(x.roll(1, 0)))).mean(0)

    x = torch.zeros(1, 6, 6)
    x[0, 2, 0] = 1
    report = account(Both().eval(), [x], profiles=[])
    assert report.layer("cell").updates_active == 8
    assert [report.layer(name).drives for name in ("one", "other")] == ["cell", "cell"]
    assert report.layer("one").spikes_out == 0
