"""A training tells how often its neurons fire, and says before the first epoch what is wrong with it."""

import json
import warnings
from dataclasses import replace

import pytest
import torch
from torch import nn

import neurodeploy as nd
from neurodeploy.app.progress import training_bar
from neurodeploy.dynamics.layers import Neuron
from neurodeploy.io.errors import Notice
from neurodeploy.recipe import parse, text_of
from neurodeploy.training import METRICS, checkpoint, train
from neurodeploy.training.evaluation import evaluate
from neurodeploy.training.optimisation import build_optimizer
from neurodeploy.training.rates import FiringRates, RateWarnings

SMALL = (
    text_of("digits")
    .replace("channels = [16, 32, 32, 64]", "channels = [4, 6, 6, 8]")
    .replace("epochs = 20", "epochs = 2")
    .replace("epochs = 40", "epochs = 2")
    .replace("seeds = [0, 1, 2]", "seeds = [0]")
)
RECIPE = parse(SMALL, origin="small")
DATA = RECIPE.data.load()
SETTINGS = "training = { epochs = 2, learning_rate = 0.1, weight_decay = 5e-4 }"
CONVERTED = """
name = "digits"
description = "converted"
seeds = [0]
steps = 4
baseline = "baseline"
deployed = "baseline"
data = { kind = "digits" }
network = { kind = "conv", channels = [4, 6, 6, 8], strides = [1, 2, 1, 2] }
neuron = { kind = "threshold", decay = 1.0, threshold = 1.0, reset = "soft" }
teacher = { epochs = 1 }

[[student]]
name = "baseline"
conversion = { thresholds = "activations", samples = 32 }
training = { epochs = 0 }

[export]
targets = []

[energy]
profiles = ["cmos45-fp32"]
"""
TAUGHT_BY_NOBODY = '[{ kind = "activity", weight = 0.1 }]'


def recipe_with(settings: str = "", loss: str = '[{ kind = "cross-entropy" }]'):
    """The small recipe, whose baseline has further settings and another loss."""
    changed = SETTINGS.replace(" }", f", {settings} }}") if settings else SETTINGS
    text = SMALL.replace(SETTINGS, changed, 1).replace('loss = [{ kind = "cross-entropy" }]', f"loss = {loss}", 1)
    return parse(text, origin="changed")


def trained(tmp_path, recipe=RECIPE, data=DATA):
    """Metrics of the baseline's epochs, and what was said of it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train(recipe, "baseline", 0, tmp_path, data=data)
    lines = [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()]
    return lines, [str(one.message) for one in caught if issubclass(one.category, Notice)]


def test_every_epoch_has_the_firing_rate_of_every_spiking_layer(tmp_path):
    lines, said = trained(tmp_path)
    network = checkpoint.load(tmp_path / "checkpoint.safetensors").network
    spiking = {name for name, module in network.named_modules() if isinstance(module, Neuron)}
    for line in lines:
        assert line["rates"].keys() == spiking
        assert all(0 < rate < 1 for rate in line["rates"].values())
    assert said == []
    assert b"rates/act1" in (tmp_path / "events.out.tfevents.neurodeploy").read_bytes()


def test_rates_are_spikes_per_neuron_and_step():
    network = checkpoint_free_network()
    rates = FiringRates(network)
    with rates.counting(), torch.no_grad():
        for part in DATA.test_samples[:20].split(8):
            network.eval()(part)
    found, result = rates.read(one_process()), evaluate(network, DATA.test_samples[:20], DATA.test_labels[:20])
    neurons = {"act1": 4 * 64, "act2": 6 * 16, "act3": 6 * 16, "act4": 8 * 4}
    assert found.keys() == result.spikes.keys()
    for name, rate in found.items():
        assert rate == pytest.approx(result.spikes[name] / (neurons[name] * RECIPE.steps))
    assert rates.read(one_process()) == {}


def checkpoint_free_network() -> nn.Module:
    torch.manual_seed(0)
    return RECIPE.build("baseline", 1, 10)


def one_process():
    from lightning_fabric import Fabric

    return Fabric(accelerator="cpu", devices=1)


def test_the_rates_of_neurons_of_other_frameworks_are_known_too(tmp_path):
    snn = pytest.importorskip("snntorch")

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear1, self.lif, self.linear2 = nn.Linear(64, 12), snn.Leaky(beta=0.5, init_hidden=True), nn.Linear(12, 10)

        def forward(self, x):
            current = self.linear1(x.flatten(1) * 8)
            return sum(self.linear2(self.lif(current)) for _ in range(3)) / 3

    torch.manual_seed(0)
    nd.distill(Net(), None, (DATA.train_samples, DATA.train_labels), epochs=1, folder=tmp_path, progress=False, source=None)
    (line,) = map(json.loads, (tmp_path / METRICS).read_text().splitlines())
    assert line["rates"].keys() == {"lif"}
    assert 0 < line["rates"]["lif"] < 1


def test_the_progress_line_shows_how_much_of_the_network_fires(tmp_path, capsys):
    with training_bar("student", 2, len(DATA.train_labels)) as watch:
        train(RECIPE, "baseline", 0, tmp_path, data=DATA, watch=watch)
    assert "firing " in capsys.readouterr().err


def test_a_dead_and_a_saturated_layer_are_named_once():
    said = RateWarnings("digits/student")
    with pytest.warns(Notice, match="digits/student: layer act1 did not fire once in epoch 1.*dead; lower its threshold"):
        said.check(1, {"act1": 0.0, "act2": 0.3})
    with pytest.warns(
        Notice, match=r"layer act2 fired in 99.0 % of all neurons and steps of epoch 2: it is saturated"
    ) as caught:
        said.check(2, {"act1": 0.0, "act2": 0.99})
    assert len(caught) == 1


def test_a_training_says_that_a_layer_is_dead(tmp_path):
    recipe = parse(SMALL.replace("threshold = 1.0", "threshold = 1000.0"), origin="dead")
    _, said = trained(tmp_path, recipe)
    assert [text for text in said if "layer act1 did not fire once in epoch 1" in text]


@pytest.mark.parametrize(
    ("recipe", "text"),
    [
        (recipe_with("batch_size = 5000"), "batch_size: 5,000 found for"),
        (recipe_with("warmup_epochs = 3"), "warmup_epochs: 3 found for 2 epochs, so that learning_rate is never reached"),
        (recipe_with(loss=TAUGHT_BY_NOBODY), r"the loss (activity) reads neither labels nor a teacher"),
    ],
    ids=["batch", "warm-up", "loss"],
)
def test_what_makes_little_sense_is_said_before_the_first_epoch(tmp_path, recipe, text):
    _, said = trained(tmp_path, recipe)
    assert [one for one in said if text in one]


def test_a_plain_conversion_at_few_steps_is_said_to_be_a_poor_one(tmp_path):
    recipe = parse(CONVERTED, origin="converted")
    source = train(recipe, "teacher", 0, tmp_path / "teacher", data=DATA)
    with pytest.warns(Notice, match="digits/baseline: converted at T = 4 and not trained"):
        train(recipe, "baseline", 0, tmp_path / "student", data=DATA, source=source)
    many = parse(CONVERTED.replace("steps = 4", "steps = 32", 1), origin="many")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(many, "baseline", 0, tmp_path / "many", data=DATA, source=source)


def test_a_loss_whose_weights_are_all_zero_is_refused(tmp_path):
    recipe = recipe_with(loss='[{ kind = "cross-entropy", weight = 0.0 }, { kind = "activity", weight = 0.0 }]')
    with pytest.raises(nd.UserError, match=r"digits/baseline: loss: every weight is 0 \(cross-entropy, activity\)"):
        train(recipe, "baseline", 0, tmp_path, data=DATA)
    assert not (tmp_path / METRICS).exists()


@pytest.mark.parametrize(("value", "what"), [(float("nan"), "NaN"), (float("inf"), "an infinity")])
def test_values_that_are_no_numbers_are_named_by_their_sample(tmp_path, value, what):
    samples = DATA.train_samples.clone()
    samples[123, 0, 2, 3] = value
    with pytest.raises(nd.UserError, match=f"digits/baseline: training sample 123 holds {what}, finite numbers expected"):
        train(RECIPE, "baseline", 0, tmp_path, data=replace(DATA, train_samples=samples))


class Streamed:
    """Samples that are read when they are asked for, one of them damaged."""

    def __init__(self, samples: torch.Tensor) -> None:
        self.samples = samples

    @property
    def shape(self) -> torch.Size:
        return self.samples.shape

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]


def test_values_that_are_no_numbers_are_named_when_they_are_first_read(tmp_path):
    samples = DATA.train_samples.clone()
    samples[77] = float("nan")
    with pytest.raises(nd.UserError, match="digits/baseline: training sample 77 holds NaN"):
        train(RECIPE, "baseline", 0, tmp_path, data=replace(DATA, train_samples=Streamed(samples)))


def test_layers_that_begin_with_weights_of_zero_are_named(tmp_path):
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))
    nn.init.zeros_(net[1].weight)
    with pytest.warns(Notice, match=r"1\.weight: all weights are 0 before the first epoch; were they loaded"):
        nd.distill(net, None, (DATA.train_samples, DATA.train_labels), epochs=1, folder=tmp_path, progress=False)


def test_the_gradient_is_shortened_to_the_length_that_was_asked_for(tmp_path, monkeypatch):
    lengths = []

    def watched(network, settings):
        optimizer = build_optimizer(network, settings)
        step = optimizer.step

        def measured(*arguments, **options):
            grads = [p.grad.flatten() for p in network.parameters() if p.grad is not None]
            lengths.append(float(torch.cat(grads).norm()))
            return step(*arguments, **options)

        optimizer.step = measured
        return optimizer

    monkeypatch.setattr("neurodeploy.training.loop.build_optimizer", watched)
    trained(tmp_path / "free")
    free, lengths[:] = list(lengths), []
    bound = sorted(free)[len(free) // 4]
    trained(tmp_path / "clipped", recipe_with(f"clip_norm = {bound}"))
    assert max(free) > bound
    assert lengths
    assert max(lengths) <= bound * 1.001
    assert lengths[0] == pytest.approx(min(free[0], bound), rel=1e-4)


def test_weights_that_are_no_numbers_end_a_training_although_its_loss_is_one(tmp_path, monkeypatch):
    def poisoned(network, settings):
        optimizer = build_optimizer(network, settings)
        optimizer.register_step_post_hook(lambda *_: next(network.parameters()).data.fill_(float("nan")))
        return optimizer

    monkeypatch.setattr("neurodeploy.training.loop.build_optimizer", poisoned)
    with pytest.raises(nd.Failure, match=r"epoch 1: \S+ holds values that are not finite; lower training.learning_rate"):
        train(RECIPE, "baseline", 0, tmp_path, data=DATA)
    assert not (tmp_path / "checkpoint.safetensors").exists()
