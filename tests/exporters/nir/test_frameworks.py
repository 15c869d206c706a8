"""Files that four frameworks wrote are recognised and compute, step by step, what the frameworks computed."""

import numpy as np
import pytest

from neurodeploy.graph import interpreter, ops
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.nir import CONVENTIONS, read_with_conventions

EQUAL = {
    "spikingjelly": ("lif", "lif-undecayed", "lif-reset", "plif", "if", "cuba", "residual", "conv"),
    "snntorch": ("lif-subtract-late",),
    "norse": ("lif", "lif-deep", "cuba", "if", "li"),
    "sinabs": ("li",),
    "spyx": ("lif", "cuba", "deep"),
}
TOLD = {
    "snntorch-lif": ("snntorch:reset_mechanism=zero", 0.13),
    "snntorch-conv": ("snntorch:reset_mechanism=zero", 0.17),
    "snntorch-cuba": ("snntorch:reset_mechanism=zero,reset_delay=false", 0.07),
    "snntorch-cuba-late": ("snntorch:reset_mechanism=zero", 0.32),
    "snntorch-lif-subtract": ("snntorch:reset_delay=False", 0.06),
    "sinabs-lif": ("sinabs:norm_input=false,spike_fn=SingleSpike", 0.40),
    "sinabs-if": ("sinabs:spike_fn=singlespike", 0.01),
    "sinabs-conv": ("sinabs:norm_input=false,spike_fn=SingleSpike", 0.44),
    "sinabs-lif-zero": ("sinabs:norm_input=false,spike_fn=SingleSpike,reset_fn=MembraneReset", 0.20),
    "sinabs-lif-multi": ("sinabs:norm_input=false", 0.19),
    "sinabs-lif-normalised": ("sinabs:norm_input=true,spike_fn=SingleSpike", 0.0),
    "sinabs-conv-floor": ("sinabs:min_v_mem=-1", 0.05),
}


RECURRENT = {
    "recurrent": "snntorch",
    "recurrent-zero": "snntorch:reset_mechanism=zero,reset_delay=false",
    "recurrent-cuba": "snntorch",
}


def last(graph):
    """What the file's output is, before the mean over time."""
    mean = graph[graph.output.inputs[0]]
    assert isinstance(mean, ops.TimeMeanNode)
    return mean.inputs[0]


@pytest.mark.parametrize("name", [f"{framework}-{name}" for framework, names in EQUAL.items() for name in names])
def test_a_file_is_recognised_and_every_spike_is_the_frameworks(theirs, name):
    path, inputs, outputs = theirs(name)
    reading = read_with_conventions(path)
    assert reading.convention == CONVENTIONS[name.partition("-")[0]]
    assert any("neurons as" in statement for statement in reading.statements)
    found = interpreter.run(reading.graph, inputs)[last(reading.graph)]
    if outputs.dtype == np.uint8:
        assert 0.02 < outputs.mean() < 0.9
        assert np.array_equal(found, outputs)
    else:
        assert outputs.std() > 0.1
        np.testing.assert_allclose(found, outputs, atol=1e-5)


@pytest.mark.parametrize("name", TOLD)
def test_what_a_file_does_not_carry_is_warned_about_and_can_be_said(theirs, name):
    """Settings bear the names that the framework's own constructors have; with them every spike is the framework's."""
    path, inputs, outputs = theirs(name)
    told, without = TOLD[name]
    framework, _, settings = told.partition(":")

    def differing(reading):
        return (interpreter.run(reading.graph, inputs)[last(reading.graph)] != outputs).mean()

    said, guessed = read_with_conventions(path, convention=told), read_with_conventions(path)
    assert differing(said) == 0
    assert differing(guessed) == pytest.approx(without, abs=0.01)
    assert guessed.warnings[0].startswith(f"its numbers look like those that {framework} writes, which is a guess")
    for setting in settings.split(","):
        key = setting.partition("=")[0]
        assert key in guessed.warnings[1]
        assert not any(key in warning for warning in said.warnings)


def test_an_if_neuron_of_spyx_looks_like_one_of_sinabs_and_has_to_be_said(theirs):
    path, inputs, outputs = theirs("spyx-if")
    guessed, said = read_with_conventions(path), read_with_conventions(path, convention="spyx")
    assert guessed.convention == CONVENTIONS["sinabs"]
    assert "its numbers look like those that sinabs writes, which is a guess" in guessed.warnings[0]
    assert said.warnings == ()
    assert np.array_equal(interpreter.run(said.graph, inputs)[last(said.graph)], outputs)


def test_one_spike_per_step_at_most_or_several(theirs):
    path, _, outputs = theirs("sinabs-lif-multi")
    assert outputs.max() == 2
    for spike_fn, largest in (("MultiSpike", None), ("SingleSpike", 1)):
        (cell,) = read_with_conventions(path, convention=f"sinabs:spike_fn={spike_fn}").graph.of(ops.CellNode)
        assert cell.largest == largest


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ("brian", r"convention 'brian': not known; there are: nir, spikingjelly, snntorch, norse, sinabs, spyx"),
        (
            "sinabs:floor=1",
            r"convention sinabs: setting 'floor': not known; there are: norm_input, spike_fn, min_v_mem, reset_fn",
        ),
        ("sinabs:min_v_mem=low", r"min_v_mem=low: none or a number expected"),
        ("snntorch:reset_delay=1", r"reset_delay=1: true or false expected"),
        ("nir:dt=1", r"convention nir: setting 'dt': not known; it has none"),
    ],
)
def test_a_writer_or_setting_that_there_is_not_is_refused(theirs, told, message):
    with pytest.raises(UserError, match=message):
        read_with_conventions(theirs("sinabs-if")[0], convention=told)


def test_the_single_neuron_of_nirs_paper_gives_the_thousand_steps_that_norse_recorded(theirs):
    path, inputs, outputs = theirs("paper-lif_norse")
    reading = read_with_conventions(path)
    assert reading.convention == CONVENTIONS["nir"]
    assert "nothing in it says who wrote it" in reading.warnings[0]
    assert len(inputs) == 1000
    assert outputs.sum() == 4
    assert np.array_equal(interpreter.run(reading.graph, inputs)["1"], outputs)


def test_the_convolutional_network_of_nirs_paper_gives_every_spike_of_sinabs_in_every_layer(theirs, recorded):
    """As `from_model` makes it: several spikes per step, and no potential below -1, neither of which is in the file."""
    path, inputs, _ = theirs("paper-cnn_sinabs")
    recorded = recorded("paper-cnn_sinabs")
    layers = {"1": recorded["1"], "3": recorded["3"], "6": recorded["6"], "10": recorded["10"], "12": recorded["outputs"]}
    said, guessed = (
        interpreter.run(read_with_conventions(path, convention=convention).graph, inputs)
        for convention in ("sinabs:min_v_mem=-1", None)
    )
    assert recorded["10"].max() > 5
    for name, spikes in layers.items():
        assert np.array_equal(said[name], spikes), name
        assert not np.array_equal(guessed[name], spikes), name


@pytest.mark.parametrize("name", ["recurrent", "recurrent-zero", "recurrent-cuba"])
def test_snntorchs_recurrent_layers_are_read_with_what_comes_back(theirs, name):
    path, inputs, outputs = theirs(f"snntorch-{name}")
    reading = read_with_conventions(path, convention=RECURRENT[name])
    assert "what 1.lif fires comes back to it in the next step, through 1.w_rec" in reading.statements
    assert 0.02 < outputs.mean() < 0.9
    found = interpreter.run(reading.graph, inputs)[last(reading.graph)]
    assert (found != outputs).mean() < 1e-3  # of sums in another order


def test_recurrent_neurons_of_which_a_framework_has_no_known_update_are_refused(theirs):
    with pytest.raises(UserError, match=r"node 1\.lif: its spikes come back to it, and how spyx then updates it is not known"):
        read_with_conventions(theirs("snntorch-recurrent")[0], convention="spyx")


@pytest.mark.parametrize("reset", ["zero", "subtract"])
def test_the_braille_networks_of_nirs_paper_give_every_spike_of_snntorch(theirs, recorded, reset):
    """A recurrent layer and a readout of current-based neurons, reset in the next step, as snnTorch does by default."""
    path, inputs, outputs = theirs(f"paper-braille-{reset}")
    reading = read_with_conventions(path, convention=f"snntorch:reset_mechanism={reset}")
    found = interpreter.run(reading.graph, inputs)
    assert np.array_equal(found["lif1.lif"], recorded(f"paper-braille-{reset}")["hidden"])
    assert np.array_equal(found["lif2"], outputs)
    assert outputs.any()


def test_what_was_assumed_is_stated(theirs):
    statements = read_with_conventions(theirs("norse-cuba")[0]).statements
    text = "\n".join(statements)
    assert "dt = 0.001 s is assumed" in read_with_conventions(theirs("norse-cuba")[0]).warnings[2]
    assert "dt" not in "".join(
        read_with_conventions(theirs("norse-cuba")[0], convention="norse:scaled_tau=true", dt=0.001).warnings
    )
    for part in (
        "convention norse: neurons as Norse writes them",
        "decay per step 1 - dt/tau (Euler), dt = 0.001 s, tau being what the file says divided by dt",
        "input times R dt/tau, but unscaled into IF and current",
        "fires at v > threshold",
        "reset to v_reset",
        "synaptic current of the same step",
        "input of shape (1, 20): the first 1 of its axes taken for a batch; a sample is (20,)",
        "answer: the mean of the output over time",
    ):
        assert part in text
    text = "\n".join(read_with_conventions(theirs("sinabs-lif")[0]).statements)
    assert "exp(-dt/tau) (exponential), dt = 1\n" in text
    assert "input times 1 - decay into LIF, and as it is into others" in text
    assert "fires at v >= threshold\nfires as often in a step as the threshold goes into the potential" in text
    assert "reset subtracts the threshold" in text
    text = "\n".join(read_with_conventions(theirs("spikingjelly-if")[0]).statements)
    assert "fires at v >= threshold: here at v > the next smaller float32" in text


def test_a_threshold_of_at_least_becomes_the_float32_below_it(theirs):
    graph = read_with_conventions(theirs("spikingjelly-if")[0]).graph
    (neuron,) = graph.of(ops.NeuronNode)
    assert neuron.parameters.threshold == float(np.nextafter(np.float32(1), np.float32(0)))
