"""What a tensor is follows from who made it; values only confirm it."""

import pytest
import torch
from torch import nn
from torch.nn import functional as f

from neurodeploy.dynamics.encodings import LatencyEncoding, PoissonEncoding
from neurodeploy.dynamics.layers import IF, Conv2d, Flatten, TimeMean
from neurodeploy.io.errors import UserError
from neurodeploy_energy import account, register_neuron

X = torch.rand(5, 8, generator=torch.Generator().manual_seed(0))


class Model(nn.Module):
    """Whatever a test wants to run; layers by name."""

    def __init__(self, run, **parts):
        super().__init__()
        self.run = run
        torch.manual_seed(1)
        for name, part in parts.items():
            setattr(self, name, part() if callable(part) and not isinstance(part, nn.Module | nn.Parameter) else part)

    def forward(self, x):
        return self.run(self, x)


def linear(*sizes):
    return lambda: nn.Linear(*sizes)


def counted(model, x=X, **options):
    report = account(model, x, profiles=["cmos45-fp32"], **options)
    assert not report.uncounted
    return report


def kinds(report):
    return [row.kind for row in report.layers]


def test_pixels_are_no_spikes_and_events_are():
    pixels = torch.randint(0, 256, (5, 8), generator=torch.Generator().manual_seed(0)).float()
    events = (X > 0.5).float()
    assert (counted(nn.Linear(8, 4), pixels).total.sops, counted(nn.Linear(8, 4), pixels).total.macs) == (0, 32)
    assert counted(nn.Linear(8, 4), pixels, inputs="events").total.sops == 4 * pixels.sum() / 5
    assert counted(nn.Linear(8, 4), events).total.sops == 4 * events.sum() / 5
    assert counted(nn.Linear(8, 4), events, inputs="analog").total.macs == 32
    with pytest.raises(UserError, match="m: inputs: 'spikes' found, 'events', 'analog' or None expected"):
        account(nn.Linear(8, 4), events, inputs="spikes", name="m")


@pytest.mark.parametrize("levels", [1, 3])
@pytest.mark.parametrize("scale", [1.0, 1 / 3])
def test_quantised_activations_and_weights_are_analog_though_they_are_whole_numbers(levels, scale):
    def run(self, x):
        h = torch.round(f.relu(self.a(x)).clamp(0, 1) * levels) * scale
        return f.linear(h, torch.round(self.b.weight * 127).clamp(-127, 127))

    report = counted(Model(run, a=linear(8, 4), b=linear(4, 2)))
    assert (report.total.sops, report.total.macs, report.total.spikes, report.steps) == (0, 40, 0, 1)


@pytest.mark.parametrize("way", ["mask", "where"])
def test_a_rectifier_written_by_hand_is_no_layer_of_neurons(way):
    def run(self, x):
        y = self.a(x)
        return self.b(y * (y > 0) if way == "mask" else torch.where(y > 0, y, 0.0))

    report = counted(Model(run, a=linear(8, 4), b=linear(4, 2)))
    assert (kinds(report), report.total.macs) == (["synapse", "synapse"], 40)


class Counting(nn.Module):
    """k of n spikes at once: k/n."""

    def forward(self, x):
        return torch.round((5 * x).clamp(0, 4)) / 4


class Hidden(nn.Module):
    """Spikes of another height, made where nobody sees it."""

    def forward(self, x):
        return torch.from_numpy((x.numpy() > 0.1) * 0.37).float()


def test_graded_and_scaled_spikes_of_registered_neurons_are_counted_by_their_height():
    register_neuron(Counting, "step")
    register_neuron(Hidden, "step")
    for neurons, height in ((Counting(), 1 / 4), (Hidden(), 0.37)):
        model = Model(lambda self, x: self.b(self.n(self.a(x))), a=linear(8, 16), b=linear(16, 2), n=neurons)
        with torch.no_grad():
            spikes = round(float(model.n(model.a(X)).sum() / height))
        report = counted(model)
        assert (report.total.sops, report.layer("n").spikes_value, report.total.macs) == (2 * spikes / 5, spikes / 5, 128)


def test_spikes_of_unknown_neurons_are_listed_until_the_layer_is_declared():
    class Unknown(Hidden):
        def forward(self, x):
            return (super().forward(x) > 0).float()

    model = Model(
        lambda self, x: self.b(torch.from_numpy((self.a(x) > 0.1).numpy() * 1.0).float()), a=linear(8, 16), b=linear(16, 2)
    )
    assert account(model, X).uncounted == {"b": "reads whole numbers that nobody knows: of neurons that are not known, or data"}
    declared = Model(lambda self, x: self.b(self.n(self.a(x))), a=linear(8, 16), b=linear(16, 2), n=Unknown())
    assert kinds(counted(declared, neurons={"n": "step"})) == ["synapse", "synapse", "neuron"]
    with pytest.raises(UserError, match="m: neurons: 'x' found, a layer of the model expected: "):
        account(declared, X, neurons={"x": "step"}, name="m")
    with pytest.raises(UserError, match="axes: 'steps' found, one of 'step', "):
        account(declared, X, neurons={"n": "steps"}, name="m")


class Surrogate(torch.autograd.Function):
    @staticmethod
    def forward(_context, v):
        return (v > 0).float()


def test_a_reset_that_compares_the_potential_once_more_is_no_step_and_no_layer():
    def run(self, x):
        v, total = torch.zeros(len(x), 16), 0
        for _ in range(5):
            reset = Surrogate.apply(v - 1)
            v = 0.9 * v + 3 * self.a(x)
            v = v * (1 - reset)
            z = Surrogate.apply(v - 1)
            total = total + self.b(z)
        return total

    report = counted(Model(run, a=linear(8, 16), b=linear(16, 6)))
    (neurons,) = (row for row in report.layers if row.kind == "neuron")
    assert (report.steps, neurons.neurons, report.total.macs) == (5, 16, 128)
    assert report.layer("b").sops == pytest.approx(6 * neurons.spikes)
    assert neurons.spikes > 0


def test_recurrent_spikes_and_adaptive_thresholds_belong_to_one_layer_of_neurons():
    def run(self, x):
        z, v, a, total = torch.zeros(len(x), 16), 0, 0, 0
        for _ in range(5):
            v = 0.9 * v + 3 * self.a(x) + self.r(z)
            z = (v > 1 + a).float()
            a, v = 0.9 * a + 0.1 * z, v - z
            total = total + self.b(z)
        return total

    report = counted(Model(run, a=linear(8, 16), r=linear(16, 16), b=linear(16, 6)))
    (neurons,) = (row for row in report.layers if row.kind == "neuron")
    assert (report.steps, neurons.steps, report.total.macs) == (5, 5, 128)
    assert report.layer("b").sops == pytest.approx(6 * neurons.spikes)
    assert neurons.spikes > 0
    assert report.layer("r").sops < 16 * neurons.spikes  # those of the last step are not read


def test_a_layer_that_is_used_in_several_places_has_a_row_for_each():
    def run(self, x):
        v, total = [0.0] * 3, 0
        for _ in range(4):
            z = self.i(x)
            for k in range(3):
                v[k] = 0.9 * v[k] + 3 * self.a(z)
                z = (v[k] > 1).float()
                v[k] = v[k] - z
            total = total + self.b(z)
        return total

    report = counted(Model(run, i=linear(8, 16), a=linear(16, 16), b=linear(16, 6)))
    assert [row.steps for row in report.layers if row.kind == "neuron"] == [4, 4, 4]
    assert [row.name for row in report.layers if row.name.startswith("a")] == ["a", "a (2)", "a (3)"]
    assert (report.steps, report.total.rate < 1) == (4, True)


def test_products_sums_gates_and_scans_are_counted_by_kind():
    x = torch.rand(5, 6, 8, generator=torch.Generator().manual_seed(2))
    dot = counted(Model(lambda s, x: s.o((s.k(x) * s.v(x)).sum(1)), k=linear(8, 8), v=linear(8, 8), o=linear(8, 3)), x)
    assert dot.total.macs == 2 * 6 * 64 + 6 * 8 + 8 * 3
    gate = counted(Model(lambda s, x: s.o(x * torch.sigmoid(s.k(x))), k=linear(8, 8), o=linear(8, 3)))
    assert gate.total.macs == 64 + 8 + 24

    def scan(self, x):
        h = torch.zeros(len(x), 16)
        for _ in range(5):
            h = self.decay * h + self.a(x)
        return self.b(h)

    row = counted(Model(scan, decay=nn.Parameter(torch.rand(16)), a=linear(8, 16), b=linear(16, 6))).layer("Model: scan")
    assert row.macs == 4 * 16


def test_spikes_and_data_side_by_side_are_told_apart():
    def run(self, x):
        z, v = torch.zeros(len(x), 16), 0
        for _ in range(4):
            v = v + self.a(torch.cat([x, z], 1))
            z = (v > 1).float()
            v = v - z
        return self.b(z)

    report = counted(Model(run, a=linear(24, 16), b=linear(16, 2)))
    assert report.layer("a").macs == 4 * 8 * 16
    assert report.layer("b").macs == 0


class Keeping(nn.Module):
    """A neuron that keeps its potential, and has no way to set it back."""

    def __init__(self):
        super().__init__()
        self.v = None

    def forward(self, x):
        self.v = x if self.v is None or self.v.shape != x.shape else 0.9 * self.v + x
        z = (self.v > 1).float()
        self.v = self.v - z
        return z


def test_the_same_call_twice_gives_the_same_report_and_a_state_of_an_earlier_run_is_refused():
    model = nn.Sequential(nn.Linear(8, 16), Keeping(), nn.Linear(16, 3))
    first = counted(model, 3 * X, steps=4)
    assert counted(model, 3 * X, steps=4) == first
    assert model[1].v is None
    assert first.total.spikes > 0
    model(3 * X)
    with pytest.raises(UserError, match="m: layer 1: keeps v between calls, and holds that of an earlier run"):
        account(model, 3 * X, steps=4, name="m")


def test_random_codes_are_drawn_alike_in_every_call_and_the_caller_s_numbers_go_on():
    model = Model(lambda s, x: sum(s.a((torch.rand_like(x) < x).float()) for _ in range(4)), a=linear(8, 4))
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    report = counted(model)
    assert torch.equal(torch.rand(3), expected)
    assert counted(model) == report
    assert (report.total.macs, report.total.sops > 0) == (0, True)


def test_the_weight_that_ran_is_counted_though_a_hook_puts_another_in_its_place():
    model = nn.Sequential(nn.Linear(8, 4, bias=False))
    kept = model[0].weight.detach().clone()

    def quantise(layer, _inputs):
        layer.weight.data = torch.zeros_like(kept)

    def restore(layer, _inputs, _output):
        layer.weight.data = kept

    model[0].register_forward_pre_hook(quantise)
    model[0].register_forward_hook(restore)
    row = counted(model, (X > 0.5).float()).layer("0")
    assert (row.sops > 0, row.sops_nonzero_weights) == (True, 0)


def test_what_hooks_cannot_see_is_refused_in_words():
    for model, x, words in (
        (torch.jit.trace(nn.Linear(8, 2), X), X, "a TorchScript module"),
        (nn.Linear(8, 2), X.to_sparse(), "a sparse tensor"),
        (nn.Linear(8, 2), X.to(torch.complex64), "a complex tensor"),
    ):
        with pytest.raises(UserError, match=f"^m: .*{words}"):
            account(model, x, name="m")


class Sequence(nn.Module):
    """Neurons in a loop over the first axis of `[T, B, …]`."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(8, 16), nn.Linear(16, 3)

    def forward(self, x):
        v, total = 0.0, 0
        for now in x:
            v = 0.9 * v + 3 * self.a(now)
            z = (v > 1).float()
            v = v - z
            total = total + self.b(z)
        return total


def test_the_axis_of_the_samples_is_found_out_checked_and_asked_for():
    x = torch.rand(7, 9, 8, generator=torch.Generator().manual_seed(3))
    found = counted(Sequence(), x)
    assert (found.samples, found.steps) == (9, 7)
    assert counted(Sequence(), x, batch_axis=1, time_axis=0) == found
    with pytest.raises(UserError, match=r"m: batch_axis: along axis 0 of the input .* say which axis holds the samples"):
        account(Sequence(), x, batch_axis=0, name="m")
    with pytest.raises(UserError, match=r"m: batch_axis: 5 found, an axis of the input \(7, 9, 8\) expected"):
        account(Sequence(), x, batch_axis=5, name="m")
    with pytest.raises(UserError, match="m: batch_axis: along neither axis 0 nor axis 1 of the input"):
        account(Model(lambda s, x: s.a(x - x.mean()).sum((0, 1)), a=linear(8, 4)), x, name="m")


def test_a_model_of_one_step_is_called_with_each_step_of_its_samples():
    x = torch.rand(9, 7, 8, generator=torch.Generator().manual_seed(3))
    report = counted(nn.Sequential(nn.Linear(8, 16), Keeping(), nn.Linear(16, 3)), x, steps=7, batch_axis=0, time_axis=1)
    assert (report.samples, report.steps, report.layer("0").macs) == (9, 7, 7 * 128)
    with pytest.raises(UserError, match="m: steps: 6 found, 7 expected, the size of the input's axis 1"):
        account(nn.Sequential(nn.Linear(8, 16), Keeping()), x, steps=6, batch_axis=0, time_axis=1, name="m")


def test_tokens_belong_to_their_sample():
    x = torch.zeros(4, 10, 8)
    x[1] = 1
    series = counted(Model(lambda s, x: s.a(x).mean(1), a=linear(8, 4)), x).series["a"]
    assert series.sops_per_sample.tolist() == [0, 320, 0, 0]


def test_padding_counts_for_neither_kind_or_for_multiply_accumulates_as_in_papers():
    images, layer = torch.rand(2, 1, 4, 4), nn.Conv2d(1, 2, 3, padding=1)
    assert counted(layer, images).total.macs == 2 * 10 * 10
    assert counted(layer, images, padding=True).total.macs == 2 * 16 * 9
    assert counted(layer, torch.ones(2, 1, 4, 4)).total.sops == counted(layer, images).total.macs


def test_one_answer_for_a_whole_batch_is_no_neuron():
    def run(self, x):
        return self.fc(x) if x.max() > 0.5 else self.fc(2 * x)

    report = counted(Model(run, fc=linear(8, 3)))
    assert [(row.name, row.macs) for row in report.layers] == [("fc", 24)]


@pytest.mark.parametrize(
    "drawn",
    [
        lambda x: (torch.rand(6, *x.shape) < x).float(),
        lambda x: (x > torch.rand(6, 1, *x.shape[1:])).float(),
        lambda x: torch.stack([(torch.rand_like(x) < x).float() for _ in range(6)]),
        lambda x: torch.bernoulli(x.expand(6, *x.shape)),
        lambda x: torch.stack([torch.bernoulli(x) for _ in range(6)]),
        lambda x: torch.zeros(6, *x.shape).bernoulli_(x.expand(6, *x.shape)),
        lambda x: PoissonEncoding(6)(x),
    ],
    ids=["all steps", "draws for all samples", "step by step", "bernoulli", "bernoulli by step", "in place", "our encoding"],
)
def test_events_that_are_drawn_from_the_data_are_spikes_however_they_are_drawn(drawn):
    class Coded(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(Conv2d(1, 2, 3), IF(), Flatten(), nn.Linear(8, 3), TimeMean())

        def forward(self, x):
            return self.body(drawn(x))

    torch.manual_seed(0)
    row = account(Coded(), [torch.full((5, 1, 4, 4), 0.5)]).layer("body.0")
    assert row.macs == 0
    assert 0.3 < row.sops / (6 * 2 * 4 * 9) < 0.7  # half of all taps


def test_one_spike_of_a_latency_code_is_a_spike():
    class Coded(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoding = LatencyEncoding(6)
            self.body = nn.Sequential(Conv2d(1, 2, 3), IF(), Flatten(), nn.Linear(8, 3), TimeMean())

        def forward(self, x):
            return self.body(self.encoding(x))

    row = account(Coded(), [torch.full((5, 1, 4, 4), 0.5)]).layer("body.0")
    assert (row.macs, row.sops) == (0, 2 * 4 * 9)  # each pixel once


def levels(steps):
    return torch.arange(1, steps + 1).view(-1, 1, 1, 1, 1) / (steps + 1)


@pytest.mark.parametrize(
    "coded",
    [
        lambda x: (x > levels(6)).float(),
        lambda x: torch.stack([(x > level.item()).float() for level in levels(6)]),
        lambda x: (x.expand(6, *x.shape) > levels(6)).float(),
    ],
    ids=["all steps", "step by step", "expanded first"],
)
def test_data_held_against_a_level_of_each_step_are_the_same_spikes_however_steps_are_compared(coded):
    class Coded(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(Conv2d(1, 2, 3), IF(), Flatten(), nn.Linear(8, 3), TimeMean())

        def forward(self, x):
            return self.body(coded(x))

    row = account(Coded(), [torch.full((5, 1, 4, 4), 0.5)]).layer("body.0")
    assert (row.macs, row.sops) == (0, 3 * 2 * 4 * 9)  # three of six levels are below
