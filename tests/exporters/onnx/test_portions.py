"""A batch in portions gives what it gives at once, bit for bit."""

import numpy as np
import pytest

from neurodeploy.graph.grid import to_grid
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.onnx import Session, build
from neurodeploy_exporters.onnx.model import portion


@pytest.mark.parametrize("kind", ["conv", "resnet"])
@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("size", [1, 3, 7])
def test_portions_of_any_size_change_nothing(graph, digits, kind, streaming, size):
    network = to_grid(graph(kind))
    model, x = build(network, name="n", streaming=streaming, spike_counts=True), digits[0][:7]
    at_once = Session(model, also=network.spiking, portion=7).run({"input": x}, steps=4)
    in_portions = Session(model, also=network.spiking, portion=size).run({"input": x}, steps=4)
    assert at_once.keys() == in_portions.keys()
    for name, values in at_once.items():
        assert np.array_equal(values, in_portions[name]), name
    if streaming:  # and go on from the states of the first four steps
        states = {before: at_once[after] for before, after in Session(model).states.items()}
        later = [Session(model, portion=n).run({"input": x, **states}, steps=2) for n in (7, size)]
        for name, values in later[0].items():
            assert np.array_equal(values, later[1][name]), name


def test_a_batch_is_cut_on_its_own_where_its_tensors_would_outgrow_the_cache(graph, digits, monkeypatch):
    network = to_grid(graph("conv"))
    session, sizes = Session(build(network, name="n"), threads=1), list[int]()
    whole = session.run({"input": digits[0][:12]}, steps=4)
    run = session._run
    monkeypatch.setattr(session, "_run", lambda tensors, steps: (sizes.append(len(tensors["input"])), run(tensors, steps))[1])
    monkeypatch.setattr(
        "neurodeploy_exporters.onnx.model._CACHED", 5 * 4 * 4 * 64
    )  # five samples of 4 steps, 4 channels of 8×8
    for tensors, steps in (({}, 4), ({"steps": np.array([4])}, None)):
        sizes.clear()
        cut = session.run({"input": digits[0][:12], **tensors}, steps=steps)
        assert sizes == [5, 5, 2]
        assert np.array_equal(whole["logits"], cut["logits"])


def test_at_least_one_sample_is_computed_at_a_time():
    assert portion(1 << 18, 4, threads=1) == 1
    assert portion(1 << 20, 16, threads=1) == 1


def test_every_thread_brings_a_cache_of_its_own():
    assert portion(1 << 12, 16, threads=1) == 8
    assert portion(1 << 12, 16, threads=4) == 32
    by_all_cores = portion(1 << 12, 16)
    assert by_all_cores >= 8
    assert by_all_cores % 8 == 0


def test_a_portion_of_no_samples_is_refused(graph):
    with pytest.raises(UserError, match="a portion of 0 samples found, at least 1 expected"):
        Session(build(graph("conv"), name="n"), portion=0)


def test_inputs_that_do_not_fit_together_are_still_told_by_name(graph, digits):
    session = Session(build(graph("conv"), name="n"), portion=2)
    with pytest.raises(UserError, match="cannot run"):
        session.run({"input": digits[0][:4, 0]}, steps=4)
