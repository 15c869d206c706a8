"""The benchmark's parts that need no other framework. To renew a golden file: write what the test prints to it."""

import json
from datetime import date
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from benchmarks import report
from benchmarks.agreement import compare_networks, different, relative_difference
from benchmarks.machine import slug
from benchmarks.ours import Ours
from benchmarks.peers import norse, sinabs, snntorch, spikingjelly
from benchmarks.peers.thresholds import non_strict
from benchmarks.results import Machine, Memory, NetworkAgreement, NeuronAgreement, Result, Timing
from benchmarks.setting import Setting, currents, sample, weights
from benchmarks.timing import interleaved
from neurodeploy.dynamics.neurons import NeuronParameters, neuron_step

GOLDEN = Path(__file__).parent / "golden" / "report.txt"
RESULTS = sorted((Path(__file__).parents[2] / "benchmarks" / "results").glob("*.json"))
HARD, SOFT = NeuronParameters(0.5, 1.0, "hard"), NeuronParameters(0.5, 1.0, "soft")
SMALL = Setting(steps=3, batch=2, channels=(3, 4, 5), strides=(1, 2), size=8, classes=3)


def spikes_of(update):
    """Spikes of `update(state, current) → (spikes, state)` over the random currents."""
    state, spikes = torch.zeros(1), []
    for current in currents(neurons=2000).squeeze(1):
        s, state = update(state, current)
        spikes.append(s)
    return torch.stack(spikes)


def ours(parameters):
    return spikes_of(lambda v, i: neuron_step(v, i, parameters, lambda h, threshold: (h > threshold).float()))


@pytest.mark.parametrize("threshold", [0.1, 0.5, 1.0, 3.7])
def test_a_non_strict_threshold_fires_exactly_above_the_strict_one(threshold):
    strict = torch.tensor(threshold, dtype=torch.float32)
    around = torch.stack([torch.nextafter(strict, torch.tensor(0.0)), strict, torch.nextafter(strict, torch.tensor(9.0))])
    assert ((around - non_strict(threshold)) >= 0).tolist() == (around > strict).tolist() == [False, False, True]


@pytest.mark.parametrize("parameters", [HARD, SOFT])
def test_spikingjellys_equation_with_the_mapped_constants_fires_our_spikes(parameters):
    c = spikingjelly.constants(parameters)

    def update(v, current):
        h = v - v / c["tau"] + current
        s = (h >= c["v_threshold"]).float()
        return s, h - s * c["v_threshold"] if c["v_reset"] is None else h * (1 - s)

    assert torch.equal(spikes_of(update), ours(parameters))


@pytest.mark.parametrize("parameters", [HARD, SOFT])
def test_norses_equation_with_the_mapped_constants_fires_our_spikes(parameters):
    c = norse.constants(parameters)

    def update(v, current):
        h = v + c["dt"] * c["tau_mem_inv"] * (current - v)
        s = (h > c["v_th"]).float()
        return s, h * (1 - s) if parameters.reset == "hard" else h - s * c["v_th"]

    assert torch.equal(spikes_of(update), ours(parameters))


@pytest.mark.parametrize("parameters", [HARD, SOFT])
def test_sinabs_equation_with_the_mapped_constants_fires_our_spikes(parameters):
    c = sinabs.constants(parameters)
    assert torch.exp(torch.tensor(-1 / c["tau_mem"])) == pytest.approx(0.5)

    def update(v, current):
        h = 0.5 * v + current
        s = ((h - c["spike_threshold"]) >= 0).float()
        return s, h * (s == 0).float() if c["subtract"] is None else h - s * c["subtract"]

    assert torch.equal(spikes_of(update), ours(parameters))


def test_a_hard_reset_one_step_late_fires_our_spikes():
    c = snntorch.constants(HARD)
    assert c["reset_delay"]

    def update(h, current):
        h = c["beta"] * ((1 - (h > c["threshold"]).float()) * h) + current
        return (h > c["threshold"]).float(), h

    assert torch.equal(spikes_of(update), ours(HARD))


def test_a_soft_reset_one_step_late_does_not_so_it_is_not_asked_for():
    def late(h, current):
        h = 0.5 * h + current - (h > 1).float()
        return (h > 1).float(), h

    assert not torch.equal(spikes_of(late), ours(SOFT))
    assert not snntorch.constants(SOFT)["reset_delay"]


@pytest.mark.parametrize("peer", [spikingjelly, norse, sinabs])
@pytest.mark.parametrize("parameters", [NeuronParameters(1.0, 1.0, "hard"), NeuronParameters(0.5, 1.0, "none")])
def test_what_a_framework_cannot_express_is_an_error(peer, parameters):
    with pytest.raises(ValueError, match="expected"):
        peer.constants(parameters)


def test_sinabs_gets_our_default_surrogate():
    from neurodeploy.dynamics.surrogates import ArcTangent

    h = torch.linspace(-2, 4, 101)
    assert torch.allclose(sinabs.arc_tangent(h, torch.tensor(1.0)), ArcTangent().derivative(h - 1, 1.0))


def test_weights_and_samples_lie_on_their_grids_and_do_not_change_from_run_to_run():
    values, (images, labels) = weights(SMALL), sample(SMALL)
    assert all(torch.equal(value * 16, (value * 16).round()) for value in values.values())
    assert torch.equal(images * 4, (images * 4).round())
    assert labels.max() < SMALL.classes
    assert torch.equal(values["conv1.weight"], weights(SMALL)["conv1.weight"])


def test_neuron_steps_are_counted_over_layers_and_steps():
    assert SMALL.neuron_steps == (4 * 8 * 8 + 5 * 4 * 4) * 2 * 3


@pytest.mark.parametrize("first_layer", ["once", "every step"])
def test_our_kernels_agree_with_each_other_and_with_the_first_layer_at_every_step(first_layer):
    setting = Setting(3, 2, SMALL.channels, SMALL.strides, SMALL.size, SMALL.classes, first_layer=first_layer)
    agreement = compare_networks(Ours("reference"), setting)
    assert (agreement.different, agreement.compared) == (0, SMALL.neuron_steps)
    assert agreement.spikes > 0
    assert agreement.gradient_difference == pytest.approx(0, abs=1e-5)


def test_differing_spikes_are_counted_and_differing_shapes_refused():
    a = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    assert different(a, 1 - a) == 4
    with pytest.raises(ValueError, match="shape"):
        different(a, a[0])
    assert relative_difference(a, a) == relative_difference(torch.zeros(2), torch.zeros(2)) == 0


def test_rounds_are_interleaved_and_the_order_turns():
    calls: list[str] = []
    seconds = interleaved({name: lambda name=name: calls.append(name) for name in "abc"}, rounds=3)
    assert "".join(calls) == "abc" + "abc" + "bca" + "cab"
    assert all(len(values) == 3 for values in seconds.values())


def test_after_a_rest_each_subject_runs_once_untimed():
    calls: list[str] = []
    seconds = interleaved({name: lambda name=name: calls.append(name) for name in "ab"}, rounds=2, rest=1e-3)
    assert "".join(calls) == "ab" + "aabb" + "bbaa"
    assert all(len(values) == 2 for values in seconds.values())


def example() -> Result:
    networks = [
        NetworkAgreement(
            subject="Norse, lifted cells", steps=4, first_layer="once", compared=13_631_488, spikes=3_266_000, different=0,
            logits_difference=0.0, gradient_difference=None,
        ),
        NetworkAgreement(
            subject="sinabs, LIF", steps=4, first_layer="once", compared=13_631_488, spikes=3_266_000, different=7,
            logits_difference=0.1, gradient_difference=0.5,
        ),
    ]  # fmt: skip
    shared = {"mode": "forward", "steps": 4, "first_layer": "once"}
    seconds = {"neurodeploy, default kernel": 0.05, "neurodeploy, compiled kernel": 0.04}
    seconds |= {"Norse, lifted cells": 0.08, "sinabs, LIF": 0.1}
    return Result(
        day=date(2026, 11, 21),
        machine=Machine(
            cpu="A CPU", cores=2, memory_gib=8, device="cpu", allocator="default", torch="2.13.0", python="3.11.7",
            load_before=0.5, load_after=2.25,
        ),
        versions={"neurodeploy": "0.1.0", "norse": "1.1.0", "sinabs": "3.1.3"},
        batch=64,
        input=(3, 32, 32),
        channels=(3, 32, 64),
        strides=(1, 2),
        notes={"sinabs, LIF": ("a note",)},
        networks=networks,
        neurons=[NeuronAgreement(subject="sinabs, LIF", reset="soft", compared=1_600_000, different=0)],
        timings=[
            Timing(subject=name, threads=threads, median_s=s / threads, fastest_s=s / threads, rounds=3, **shared)
            for threads in (1, 2)
            for name, s in seconds.items()
        ],
        memory=[Memory(subject=name, peak_bytes=int(s * 2**31), method="VmHWM", **shared) for name, s in seconds.items()],
    )  # fmt: skip


def test_the_report_reads_as_the_golden_file():
    found = report.text(example())
    print(found)
    assert found == GOLDEN.read_text(encoding="utf-8")


def test_a_ratio_is_ours_over_the_peers_for_each_of_our_kernels():
    timings = [t for t in example().timings if t.threads == 1]
    assert report.ratios(timings, lambda t: t.median_s) == {
        "Norse, lifted cells": pytest.approx([0.625, 0.5]),
        "sinabs, LIF": pytest.approx([0.5, 0.4]),
    }


def test_results_survive_their_json_and_unknown_fields_are_refused():
    result = example()
    assert Result.model_validate_json(result.model_dump_json()) == result
    with pytest.raises(ValidationError, match="surprise"):
        Result.model_validate_json(json.dumps(json.loads(result.model_dump_json()) | {"surprise": 1}))


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_kept_results_have_the_schema_and_no_network_whose_spikes_differ(path):
    result = Result.model_validate_json(path.read_text(encoding="utf-8"))
    assert result.networks
    assert all(x.different == 0 for x in result.networks)


def test_a_machines_name_becomes_part_of_a_file_name():
    assert slug("Intel(R) Xeon(R) CPU @ 2.20GHz-2 cores") == "intel-r-xeon-r-cpu-2-20ghz-2-cores"
