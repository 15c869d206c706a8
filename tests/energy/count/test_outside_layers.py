"""Operations that no layer runs: functional calls, attention, recurrent layers; and layers that are shared, idle or broken."""

from contextlib import suppress
from itertools import cycle

import pytest
import torch
from torch import nn
from torch.nn import functional as f
from torch.nn.utils.parametrizations import weight_norm

from neurodeploy.dynamics.layers import Neuron
from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.io.errors import UserError
from neurodeploy_energy import account

RANDOM = torch.Generator().manual_seed(0)
SPIKES = torch.randint(0, 2, (3, 5, 8), generator=RANDOM).float()
"""`[B, L, E]`."""
IMAGES = torch.randint(0, 2, (3, 2, 6, 6), generator=RANDOM).float()


def firing(threshold=0.3):
    return Neuron(NeuronParameters(0.5, threshold))


class Model(nn.Module):
    """Whatever a test wants to run; modules and parameters by name."""

    def __init__(self, run, **parts):
        super().__init__()
        self.run = run
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.run(self, x)


def test_a_functional_convolution_is_counted_as_a_layer_would_be():
    layer = nn.Conv2d(2, 4, 3, padding=1, stride=2, bias=False)
    with torch.no_grad():
        layer.weight[0] = 0
    as_layer = account(nn.Sequential(layer), [IMAGES], profiles=[]).layer("0")
    model = Model(lambda self, x: f.conv2d(x, self.weight, padding=1, stride=2), weight=layer.weight)
    report = account(model, [IMAGES], profiles=[])
    row = report.layer("Model: convolution weight")
    assert not report.uncounted
    for field in ("sops", "sops_nonzero_weights", "macs", "dense_macs", "steps", "memory", "inputs", "geometry"):
        assert getattr(row, field) == getattr(as_layer, field), field


@pytest.mark.parametrize(
    "run",
    [
        lambda self, x: x @ self.weight.T,
        lambda self, x: f.linear(x, self.weight),
        lambda self, x: torch.einsum("ble,oe->blo", x, self.weight),
        lambda self, x: torch.addmm(torch.zeros(()), x.flatten(0, 1), self.weight.t()),
        lambda self, x: (self.weight @ x.flatten(0, 1).T).T,
        lambda self, x: torch.stack([torch.stack([torch.mv(self.weight, one) for one in sample]) for sample in x]),
    ],
)
def test_a_product_with_a_parameter_is_a_linear_layer_however_it_is_written(run):
    weight = nn.Parameter(torch.randn(4, 8, generator=RANDOM))
    report = account(Model(run, weight=weight), [SPIKES], profiles=[])
    assert not report.uncounted
    (row,) = report.layers
    assert (row.kind, row.sops * 3, row.macs) == ("synapse", 4 * SPIKES.sum(), 0)


def test_a_product_of_two_activations_counts_pairs_of_values_that_meet():
    graded = SPIKES * torch.tensor([1, 2, 1, 1, 3, 1, 1, 1])
    analog = torch.rand(3, 5, 8, generator=RANDOM) * SPIKES.roll(1)
    for one, other in (
        (SPIKES, SPIKES),
        (SPIKES, graded),
        (SPIKES, analog),
        (analog, graded),
        (analog, analog),
        (graded, graded),
    ):
        pairs = sops = macs = 0
        for a, b in zip(one, other, strict=True):
            for row in a:
                for column in b:
                    for u, v in zip(row.tolist(), column.tolist(), strict=True):
                        pairs += 1
                        whole = [abs(value) for value in (u, v) if value == round(value)]
                        if u and v:
                            sops += round(torch.tensor(whole).prod().item()) if whole else 0
                            macs += 0 if whole else 1
        model = Model(lambda _self, x: x[0] @ x[1].transpose(1, 2))
        report = account(model, [torch.stack([one, other])], profiles=[], batch_axis=1)
        (row,) = report.layers
        whole = any(bool(((x == x.round()) & (x != 0)).any()) for x in (one, other))
        assert (row.kind, round(row.sops * 3), round(row.macs * 3)) == ("matmul", sops, macs if whole else pairs)
        assert round(row.dense_macs * 3) == pairs


def test_the_layers_and_products_of_an_attention_are_counted_one_by_one():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    report = account(layer, [torch.rand(2, 5, 8, generator=RANDOM)], profiles=[])
    counts = {row.name: row.dense_macs for row in report.layers}
    assert counts == {
        "self_attn: linear in_proj_weight": 5 * 8 * 24,
        "self_attn: attention scores": 5 * 5 * 8,
        "self_attn: attention values": 5 * 5 * 8,
        "self_attn: linear out_proj.weight": 5 * 8 * 8,
        "linear1": 5 * 8 * 16,
        "linear2": 5 * 16 * 8,
    }
    assert report.total.macs == sum(counts.values())
    assert not report.uncounted


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_a_recurrent_layer_sees_its_spikes_and_keeps_analog_values_inside(kind):
    gates = {nn.RNN: 1, nn.GRU: 3, nn.LSTM: 4}[kind]
    row = account(nn.Sequential(kind(8, 6, batch_first=True)), [SPIKES], profiles=[]).layer("0")
    assert (row.sops * 3, row.macs) == (gates * 6 * SPIKES.sum(), 5 * gates * 6 * 6)
    assert row.dense_macs == 5 * gates * 6 * (8 + 6)
    series = account(nn.Sequential(kind(8, 6, batch_first=True)), [SPIKES], profiles=[]).series["0"]
    assert series.spikes_per_step.tolist() == SPIKES.sum((0, 2)).tolist()
    assert series.sops_per_sample.tolist() == (gates * 6 * SPIKES.sum((1, 2))).tolist()
    assert series.macs_per_sample.tolist() == [5 * gates * 6 * 6] * 3
    both = kind(8, 6, 2, batch_first=True, bidirectional=True)
    row = account(nn.Sequential(both), [SPIKES / 2], profiles=[]).layer("0")
    assert row.macs == row.dense_macs == 5 * sum(weight.numel() for name, weight in both.named_parameters() if "weight" in name)


def test_a_recurrent_cell_in_a_loop_is_two_layers_of_as_many_steps():
    def run(self, x):
        state = None
        for now in x.unbind(1):
            state = self.cell(now, state)
        return state[0]

    report = account(Model(run, cell=nn.LSTMCell(8, 6)), [SPIKES], profiles=[])
    assert not report.uncounted
    assert (report.layer("cell: linear weight_ih").sops * 3, report.layer("cell: linear weight_ih").steps) == (
        24 * SPIKES.sum(),
        5,
    )
    assert report.layer("cell: linear weight_hh").macs == 5 * 24 * 6


def test_of_a_packed_sequence_the_steps_that_there_are_count():
    def run(self, x):
        return self.rnn(nn.utils.rnn.pack_padded_sequence(x, [5, 3, 2], batch_first=True))[1]

    report = account(Model(run, rnn=nn.RNN(8, 6, batch_first=True)), [SPIKES], profiles=[])
    row = report.layer("rnn")
    assert row.sops * 3 == 6 * (SPIKES[0].sum() + SPIKES[1, :3].sum() + SPIKES[2, :2].sum())
    assert row.macs == 10 * 6 * 6 / 3
    assert "rnn" not in report.series


def test_residual_sums_without_a_layer_count_their_spikes_and_no_currents():
    def run(self, x):
        first = self.one(self.conv1(x)[None].repeat(3, 1, 1, 1, 1))
        second = self.two(self.conv2(first.flatten(0, 1)).unflatten(0, (3, -1)) + first)
        second += first
        return self.conv1(x) + self.conv1(x)

    parts = {"conv1": nn.Conv2d(2, 4, 3, padding=1), "conv2": nn.Conv2d(4, 4, 3, padding=1), "one": firing(), "two": firing()}
    report = account(Model(run, **parts), [IMAGES], profiles=[])
    one, two = report.layer("one").spikes, report.layer("two").spikes
    sums = {row.name: row.adds for row in report.layers if row.kind == "sum"}
    assert sums == pytest.approx({"Model: sum": one, "Model: sum (2)": one + two})
    assert report.layer("conv2").drives == "two"


@pytest.mark.parametrize(
    "run",
    [
        lambda self, x: self.linear(self.neurons(x[None]).mean((-2, -1))[0]),
        lambda self, x: self.linear(self.neurons(x[None])[0].mean((2, 3), keepdim=True).flatten(1)),
        lambda self, x: self.linear(f.adaptive_avg_pool2d(self.neurons(x[None])[0], 1).flatten(1)),
    ],
)
def test_a_mean_over_all_positions_is_a_pool_that_folds(run):
    report = account(Model(run, linear=nn.Linear(2, 7), neurons=firing(0.5)), [IMAGES], profiles=[])
    assert report.layer("linear").sops == 7 * IMAGES.sum() / 3
    assert report.layer("linear").macs == 0


def test_an_operation_that_nobody_knows_is_listed():
    report = account(Model(lambda self, x: torch.cdist(self.linear(x), x), linear=nn.Linear(8, 8)), [SPIKES], profiles=[])
    assert report.uncounted == {"Model: _cdist_forward": "an operation that is not known to the counter"}


def test_a_module_of_no_known_class_is_followed():
    inner = Model(lambda self, x: torch.tanh(x @ self.weight), weight=nn.Parameter(torch.ones(8, 2)))
    report = account(Model(lambda self, x: self.linear(self.inner(x)), inner=inner, linear=nn.Linear(2, 3)), [SPIKES])
    assert report.layer("inner: linear weight").sops == 2 * SPIKES.sum() / 3
    assert report.layer("linear").macs == 5 * 2 * 3
    assert report.uncounted == {}


def test_a_weight_that_is_made_anew_by_each_call_is_counted_with_the_zeros_that_it_has_then():
    masks = cycle([torch.ones(4, 8), torch.ones(4, 8), torch.zeros(4, 8)])  # of a batch, one sample of it alone, and a batch
    model = Model(lambda self, x: f.linear(x, self.linear.weight * next(masks)) + self.linear(x), linear=nn.Linear(8, 4))
    report = account(model, [SPIKES, SPIKES], profiles=[], fold=False)
    made = report.layer("Model: linear")
    assert (made.sops, made.sops_nonzero_weights) == (4 * SPIKES.sum() / 3, 4 * SPIKES.sum() / 3 / 2)
    report = account(nn.Sequential(weight_norm(nn.Linear(8, 4))), [SPIKES], profiles=[])
    assert (report.layer("0").sops, report.uncounted) == (4 * SPIKES.sum() / 3, {})


def test_weights_that_change_between_batches_are_counted_as_they_are():
    model = nn.Sequential(nn.Linear(8, 4))

    def batches():
        yield SPIKES
        nn.init.zeros_(model[0].weight)
        yield SPIKES

    row = account(model, batches(), profiles=[]).layer("0")
    assert (row.sops, row.sops_nonzero_weights) == (4 * SPIKES.sum() / 3, 4 * SPIKES.sum() / 6)


def test_layers_that_share_weights_are_called_twice_or_have_two_names_say_so():
    def run(self, x):
        return self.one(x) + self.again(x) + self.tied(x)

    model = Model(run, one=nn.Linear(8, 4), tied=nn.Linear(8, 4))
    model.again, model.tied.weight = model.one, model.one.weight
    report = account(model, [SPIKES[:, 0]], profiles=[])
    assert report.layer("one").sops == 2 * 4 * SPIKES[:, 0].sum() / 3
    assert report.layer("one").note == "also known as again; runs 2 times per sample, in several calls"
    assert report.layer("tied").note == "shares its weights with one"
    assert report.layer("tied").sops == 4 * SPIKES[:, 0].sum() / 3


class Broken(nn.Module):
    def forward(self, _x):
        raise ValueError("boom")


def test_a_module_that_raises_is_named_whether_the_model_stops_or_goes_on():
    with pytest.raises(UserError, match=r"^m: does not run on an input of shape \(3, 5, 8\): boom \(in layer deep\.1\)$"):
        account(Model(lambda self, x: self.deep(x), deep=nn.Sequential(nn.Linear(8, 4), Broken())), [SPIKES], name="m")

    def run(self, x):
        with suppress(ValueError):
            self.broken(x)
        return self.linear(x)

    model = Model(run, broken=nn.Sequential(nn.Linear(8, 4), Broken()), linear=nn.Linear(8, 4))
    report = account(model, [SPIKES], profiles=[])
    assert report.uncounted["broken.1"] == "raised an error in 1 of 1 calls, which the model went on from"
    assert report.layer("linear").sops == report.layer("broken.0").sops == 4 * SPIKES.sum() / 3


def test_spikes_that_were_changed_in_place_are_counted_as_they_are_read():
    def run(self, x):
        spikes = self.neurons(x[None])[0]
        before = self.one(spikes)
        spikes[:, 0] = 0
        return before, self.other(spikes)

    parts = {"neurons": firing(0.5), "one": nn.Conv2d(2, 3, 1), "other": nn.Conv2d(2, 3, 1)}
    report = account(Model(run, **parts), [IMAGES], profiles=[])
    assert report.layer("one").sops == 3 * IMAGES.sum() / 3
    assert report.layer("other").sops == 3 * IMAGES[:, 1].sum() / 3


def test_a_layer_behind_an_activation_or_before_any_neuron_reads_one_dense_signal():
    """A saturated pixel and an activation that happens to be whole are no spikes."""
    pixels = torch.tensor([[0.0, 1.0, 0.5]])
    direct = nn.Sequential(nn.Linear(3, 2), nn.Unflatten(0, (1, -1)), firing())
    for model in (direct, nn.Sequential(nn.ReLU(), nn.Linear(3, 2)), nn.Sequential(nn.Linear(3, 2), nn.ReLU())):
        (row,) = (row for row in account(model, [pixels], profiles=[]).layers if row.kind == "synapse")
        assert (row.sops, row.macs, row.effective_macs) == (0, 6, 4)
    later = nn.Sequential(
        nn.Unflatten(0, (1, -1)), firing(5.0), nn.Unflatten(2, (3,)), Model(lambda _self, x: x + 1), nn.Linear(3, 2)
    )
    assert account(later, [pixels], profiles=[]).layer("4").sops == 6


def test_a_compiled_model_has_the_counts_of_the_model_that_it_was():
    plain = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
    expected = account(plain, [SPIKES], profiles=[]).total
    assert account(torch.compile(plain), [SPIKES], profiles=[]).total == expected
    plain.compile()
    assert account(plain, [SPIKES], profiles=[]).total == expected
