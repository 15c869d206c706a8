"""The same network and the same spikes have the same report, however the code is written."""

import os

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neurodeploy_energy import account, verdicts
from tests.energy.count.rewritings import Net, written

EXAMPLES = int(os.environ.get("NEURODEPLOY_REWRITINGS", "25"))
FIELDS = (
    "spikes",
    "sops",
    "sops_nonzero_weights",
    "macs",
    "dense_macs",
    "adds",
    "analog_adds",
    "updates_active",
    "updates_idle",
)


@st.composite
def nets(draw):
    convolutions = draw(st.integers(0, 2))
    widths = tuple(draw(st.lists(st.integers(2, 5), min_size=2 + (convolutions == 2), max_size=4)))
    return Net(
        seed=draw(st.integers(0, 2**16)),
        steps=draw(st.integers(2, 5)),
        widths=widths,
        convolutions=min(convolutions, len(widths) - 1),
        leak=draw(st.sampled_from([1.0, 0.9, 0.5])),
        soft=draw(st.booleans()),
        pool=draw(st.booleans()),
        norm=draw(st.booleans()),
        bias=draw(st.booleans()),
        residual=draw(st.booleans()),
    )


def facts(report):
    """What must not depend on how the code is written."""
    total = report.total
    counts = {name: round(getattr(total, name) * report.samples, 6) for name in FIELDS}
    steps = sorted((row.steps, row.neurons, round(row.rate, 9)) for row in report.layers if row.kind == "neuron")
    judged = [(v.model_uj, v.dense_uj, v.quantised_uj, v.bits) for v in verdicts(report)]
    return counts | {"T": report.steps, "neurons": steps, "uncounted": report.uncounted}, judged


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=EXAMPLES <= 25)
@given(nets())
def test_a_network_counts_the_same_in_whatever_way_it_is_written(net):
    samples = net.samples()
    expected = None
    with torch.no_grad():
        answers = {name: model(samples) for name, model in written(net)}
    first = answers["Modules"]
    for name, model in written(net):
        if not torch.allclose(answers[name], first, atol=1e-5):
            continue  # another order of sums has moved a spike: it is another network
        found = facts(account(model, samples, profiles=("cmos45-fp32", "cmos45-int8", "loihi1")))
        expected = found if expected is None else expected
        assert found[0] == expected[0], (name, net)
        for ours, theirs in zip(found[1], expected[1], strict=True):
            for one, other in zip(ours, theirs, strict=True):
                assert one == other or one == pytest.approx(other, rel=1e-9), (name, net)
