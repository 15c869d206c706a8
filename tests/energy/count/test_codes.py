"""Spikes that a model's own code makes of its data are spikes, in however many ways strangers write the code."""

import pytest
import torch
from torch import nn
from torch.nn import functional as f

from neurodeploy.io.errors import UserError
from neurodeploy_energy import account

T = 8
X = torch.rand(5, 12, generator=torch.Generator().manual_seed(0)) * 0.98 + 0.01
MOVING = torch.rand(T, 5, 12, generator=torch.Generator().manual_seed(1))
STEPS = torch.arange(T).view(-1, 1, 1)


class Coded(nn.Module):
    """An encoder, two layers of synapses, and neurons in a loop between them."""

    def __init__(self, encode):
        super().__init__()
        torch.manual_seed(0)
        self.encode, self.a, self.b = encode, nn.Linear(12, 16), nn.Linear(16, 3)

    def forward(self, x):
        v, total = 0.0, 0.0
        for now in self.encode(x):
            v = 0.9 * v + self.a(now)
            fired = (v > 0.2).float()
            v = v - fired
            total = total + self.b(fired)
        return total


def check(encode, x=X, *, axis=0):
    """Every event of the code reaches 16 synapses, and nothing of the encoder is counted."""
    spikes = int((encode(x) != 0).sum())
    report = account(Coded(encode), x, profiles=["cmos45-fp32"], batch_axis=axis)
    row = report.layer("a")
    assert not report.uncounted
    assert (row.macs, row.sops) == (0, pytest.approx(16 * spikes / 5))
    assert [one.name for one in report.layers] == ["a", "Coded: neurons of a", "b"]
    assert (report.steps, spikes > 0) == (len(encode(x)), True)


def each(step, steps=range(T)):
    """A code that is written step by step."""
    return lambda x: torch.stack([step(x, t) for t in steps])


def time(x):
    return torch.round((1 - x) * (T - 1))


def put_by_index(x):
    spikes, (b, n) = torch.zeros(T, *x.shape), torch.meshgrid(*map(torch.arange, x.shape), indexing="ij")
    spikes[time(x).long(), b, n] = 1
    return spikes


def put_by_mask(x):
    spikes = torch.zeros(T, *x.shape)
    for t in range(T):
        spikes[t][time(x) == t] = 1.0
    return spikes


def first_crossing(x):
    done, spikes = torch.zeros_like(x, dtype=torch.bool), []
    for t in range(T):
        new = (x >= 1 - (t + 0.5) / (T - 1)) & ~done
        done = done | new
        spikes.append(new.float())
    return torch.stack(spikes)


LATENCY = {
    "a step's comparison": each(lambda x, t: (time(x) == t).float()),
    "one comparison": lambda x: (time(x) == STEPS).float(),
    "whole times": lambda x: torch.eq(time(x).long()[None], STEPS).type_as(x),
    "not unequal": each(lambda x, t: 1 - (time(x) != t).float()),
    "no difference": each(lambda x, t: (~(time(x) - t).bool()).float()),
    "logical not": each(lambda x, t: torch.logical_not(time(x) - t).float()),
    "close": each(lambda x, t: torch.isclose(time(x), torch.tensor(float(t))).float()),
    "a window": each(lambda x, t: ((time(x) <= t) & (time(x) > t - 1)).float()),
    "a product": each(lambda x, t: (time(x) <= t).float() * (time(x) > t - 1).float()),
    "a difference": each(lambda x, t: (time(x) <= t).float() - (time(x) <= t - 1).float()),
    "differences": lambda x: torch.diff((time(x) <= STEPS).float(), dim=0, prepend=torch.zeros(1, *x.shape)),
    "the first of many": lambda x: ((time(x) <= STEPS).float().cumsum(0) == 1).float(),
    "a triangle": each(lambda x, t: torch.relu(1 - (time(x) - t).abs())),
    "heaviside": each(lambda x, t: torch.heaviside(0.5 - (time(x) - t).abs(), torch.tensor(0.0))),
    "where": each(lambda x, t: torch.where(time(x) == t, torch.ones_like(x), torch.zeros_like(x))),
    "where of numbers": each(lambda x, t: torch.where(time(x) == t, 1.0, 0.0)),
    "filled": each(lambda x, t: torch.zeros_like(x).masked_fill(time(x) == t, 1.0)),
    "put by index": put_by_index,
    "put by mask": put_by_mask,
    "scattered number": lambda x: torch.zeros(T, *x.shape).scatter_(0, time(x).long()[None], 1.0),
    "scattered ones": lambda x: torch.zeros(T, *x.shape).scatter(0, time(x).long()[None], torch.ones(1, *x.shape)),
    "added ones": lambda x: torch.zeros(T, *x.shape).scatter_add_(0, time(x).long()[None], torch.ones(1, *x.shape)),
    "one-hot": lambda x: f.one_hot(time(x).long(), T).movedim(-1, 0).float(),
    "rows of a unit matrix": lambda x: torch.eye(T)[time(x).long()].movedim(-1, 0),
    "first crossing": first_crossing,
    "largest mark": lambda x: torch.zeros(T, *x.shape).scatter_reduce(0, time(x).long()[None], torch.ones(1, *x.shape), "amax"),
    "marks of bytes": lambda x: torch.zeros(T, *x.shape, dtype=torch.uint8).scatter_(0, time(x).long()[None], 1).to(x.dtype),
    "exclusive or": each(lambda x, t: ((time(x) <= t) ^ (time(x) <= t - 1)).float()),
    "times of logarithms": each(lambda x, t: ((-2 * x.log()).floor().clamp(max=T - 1) == t).float()),
    "bins": lambda x: f.one_hot(torch.searchsorted(torch.linspace(0, 1, T + 1)[1:-1], x), T).movedim(-1, 0).float(),
}


@pytest.mark.parametrize("encode", LATENCY.values(), ids=LATENCY)
def test_a_latency_code_is_one_spike_for_each_value(encode):
    check(encode)


def whole(x):
    return (x * 255).long()


def residual(x):
    rest, planes = (x * 255).floor(), []
    for t in range(T):
        planes.append((rest >= 2.0 ** (7 - t)).float())
        rest = rest - 2.0 ** (7 - t) * planes[-1]
    return torch.stack(planes)


def residual_in_place(x):
    rest, planes, weight = (x * 255).floor().clone(), torch.empty(T, *x.shape), 128.0
    for t in range(T):
        planes[t] = rest >= weight
        rest -= weight * planes[t]
        weight *= 0.5
    return planes


def halved(x):
    rest, planes = whole(x).clone(), []
    for _ in range(T):
        planes.append((rest & 1).float())
        rest >>= 1
    return torch.stack(planes)


BITS = {
    "shift": each(lambda x, t: ((whole(x) >> t) & 1).float()),
    "shifts": lambda x: ((whole(x)[None] >> STEPS) & 1).float(),
    "bytes": each(lambda x, t: torch.bitwise_and(torch.bitwise_right_shift((x * 255).byte(), t), 1).to(x.dtype)),
    "mask": each(lambda x, t: (whole(x) & (1 << t)).bool().float()),
    "masks": lambda x: ((whole(x)[None] & (1 << STEPS)) != 0).float(),
    "mask and division": each(lambda x, t: ((whole(x) & (1 << t)) // (1 << t)).float()),
    "mask and shift": each(lambda x, t: ((whole(x) & (1 << t)) >> t).float()),
    "division": each(lambda x, t: (whole(x) // 2**t % 2).float()),
    "division of floats": each(lambda x, t: torch.remainder(torch.floor((x * 255).floor() / 2**t), 2)),
    "differences": each(lambda x, t: torch.floor((x * 255).floor() / 2**t) - 2 * torch.floor((x * 255).floor() / 2 ** (t + 1))),
    "what remains": residual,
    "what remains, in place": residual_in_place,
    "weighted": each(lambda x, t: ((whole(x) >> t) & 1).float() * 2.0 ** (t - 8)),
    "weighted together": lambda x: ((whole(x)[None] >> STEPS) & 1).float() * 2.0 ** (STEPS - 8),
    "weighted by the mask": each(lambda x, t: (whole(x) & (1 << t)).float() / 256),
    "mask and sign": each(lambda x, t: torch.sign((whole(x) & (1 << t)).float())),
    "halves in place": halved,
    "Gray code": each(lambda x, t: (((whole(x) ^ (whole(x) >> 1)) >> t) & 1).float()),
}


@pytest.mark.parametrize("encode", BITS.values(), ids=BITS)
def test_a_bit_plane_is_a_spike_for_each_bit(encode):
    check(encode)


def rank(x):
    return x.argsort(1, descending=True).argsort(1)


RANK = {
    "sorted": each(lambda x, t: (rank(x) * T // 12 == t).float()),
    "counted": each(lambda x, t: ((x[:, :, None] < x[:, None, :]).sum(-1) * T // 12 == t).float()),
    "largest": each(lambda x, t: torch.zeros_like(x).scatter(1, x.topk(12, 1).indices[:, t : t + 1], 1.0)),
    "one-hot": lambda x: f.one_hot(rank(x), 12)[..., :T].movedim(-1, 0).float(),
}


@pytest.mark.parametrize("encode", RANK.values(), ids=RANK)
def test_a_rank_order_code_is_spikes(encode):
    check(encode)


def change(x):
    return torch.diff(x, dim=0, prepend=x[:1])


def remembered(x):
    last, spikes = x[0], []
    for now in x:
        spikes.append(((now - last).abs() > 0.3).float())
        last = now
    return torch.stack(spikes)


def tracked(x):
    level, spikes = torch.zeros_like(x[0]), []
    for now in x:
        away = now - level
        spikes.append(torch.sign(away) * (away.abs() > 0.3))
        level = level + 0.3 * spikes[-1]
    return torch.stack(spikes)


DELTA = {
    "step by step": lambda x: torch.stack(
        [((x[t] - x[t - 1]).abs() > 0.3).float() if t else torch.zeros_like(x[0]) for t in range(len(x))]
    ),
    "all at once": lambda x: (change(x).abs() > 0.3).float(),
    "beside zeros": lambda x: ((x - torch.cat([torch.zeros_like(x[:1]), x[:-1]])).abs() >= 0.3).float(),
    "on and off": lambda x: (change(x) > 0.3).float() - (change(x) < -0.3).float(),
    "a sign": lambda x: change(x).sign() * (change(x).abs() > 0.3),
    "where": lambda x: torch.where(change(x) > 0.3, 1.0, torch.where(change(x) < -0.3, -1.0, 0.0)),
    "channels": lambda x: torch.cat([(change(x) > 0.3)[..., :6], (change(x) < -0.3)[..., :6]], -1).float(),
    "remembered": remembered,
    "tracked": tracked,
}


@pytest.mark.parametrize("encode", DELTA.values(), ids=DELTA)
def test_a_code_of_changes_is_spikes(encode):
    check(encode, MOVING, axis=1)


def tuned(x):
    return torch.exp(-((x[:, :3, None] - torch.linspace(0, 1, 4)) ** 2) / 0.1).flatten(1)


POPULATIONS = {
    "levels": lambda x: (tuned(x) > torch.linspace(0.9, 0.1, T).view(-1, 1, 1)).float(),
    "level by level": each(lambda x, t: (tuned(x) > 0.9 - 0.1 * t).float()),
    "latency": lambda x: (((1 - tuned(x)) * (T - 1)).round() == STEPS).float(),
    "bins": each(lambda x, _: f.one_hot((x[:, :3] * 4).long().clamp(max=3), 4).flatten(1).float()),
    "boundaries": each(
        lambda x, _: f.one_hot(torch.bucketize(x[:, :3].contiguous(), torch.tensor([0.25, 0.5, 0.75])), 4).flatten(1).float()
    ),
}


@pytest.mark.parametrize("encode", POPULATIONS.values(), ids=POPULATIONS)
def test_a_population_code_is_spikes(encode):
    check(encode)


def bursts(x):
    count = torch.ceil(x * 4)
    pause = torch.clamp(torch.ceil(T / count.clamp(min=1)), max=3)
    return torch.stack([((t % pause == 0) & (t < count * pause)).float() for t in range(T)])


@pytest.mark.parametrize("encode", [bursts, each(lambda x, t: ((t + 1) * x).floor() - (t * x).floor())], ids=["bursts", "rate"])
def test_bursts_and_regular_rates_are_spikes(encode):
    check(encode)


def test_snntorch_s_own_codes_are_spikes():
    spikegen = pytest.importorskip("snntorch.spikegen")
    check(lambda x: spikegen.latency(x, num_steps=T, normalize=True))
    check(lambda x: spikegen.latency(x, num_steps=T, normalize=True, linear=True, clip=True))
    check(lambda x: spikegen.delta(x, threshold=0.3), MOVING, axis=1)
    check(lambda x: spikegen.delta(x, threshold=0.3, off_spike=True, padding=True), MOVING, axis=1)


def rows(model, x=X, **options):
    report = account(model, x, profiles=["cmos45-fp32"], **options)
    assert not report.uncounted
    return report


def test_several_marks_at_one_place_are_as_many_spikes():
    def encode(x):
        twice = (time(x).long() // 2)[None].repeat(2, 1, 1)
        return torch.zeros(T, len(x), 12).scatter_add_(0, twice, torch.ones_like(twice, dtype=x.dtype))

    assert rows(Coded(encode)).layer("a").sops == 16 * 2 * 12


def test_neurons_that_integrate_the_data_are_neurons_and_no_encoder():
    def encode(x):
        v, spikes = torch.zeros_like(x), []
        for _ in range(T):
            v = v + x
            spikes.append((v >= 1).float())
            v = v - spikes[-1]
        return torch.stack(spikes)

    report = rows(Coded(encode))
    neurons = report.layer("Coded: neurons of the data")
    assert (neurons.neurons, neurons.steps, report.layer("a").sops) == (12, T, pytest.approx(16 * neurons.spikes))


@pytest.mark.parametrize(
    "prepare",
    [
        lambda x: (4 * x).round() / 4,
        lambda x: (x * 255).byte().float() / 255,
        lambda x: (x * 255).long().float(),
        lambda x: x.clamp(0.2, 0.8),
        lambda x: (x - x.mean()) / x.std(),
        lambda x: torch.linspace(0, 1, 256)[(x * 255).long()],
        lambda x: torch.zeros_like(x).scatter(1, x.argsort(1), torch.arange(1.0, 13.0).expand_as(x)),
        lambda x: torch.zeros_like(x).scatter(1, x.argsort(1), x),
        lambda x: torch.zeros_like(x).scatter_add(1, (x * 11).long(), x),
        lambda x: ((x * 255).long() & 7).float(),
        lambda x: ((x * 255).long() >> 4).float(),
    ],
    ids=[
        "levels",
        "bytes",
        "pixels",
        "clamped",
        "normalised",
        "looked up",
        "ranks put",
        "values put",
        "values added",
        "low bits",
        "high bits",
    ],
)
def test_data_that_are_prepared_are_analog(prepare):
    row = rows(Coded(each(lambda x, _: prepare(x)))).layer("a")
    assert (row.sops, row.macs) == (0, 16 * 12)  # and the same in every step


def test_a_binary_image_is_what_it_is_whether_the_model_rounds_it_or_gets_it_so():
    image = X.round()
    given, rounded = rows(Coded(each(lambda x, _: x)), image), rows(Coded(each(lambda x, _: x.round())))
    assert given.layer("a").sops == rounded.layer("a").sops == pytest.approx(16 * float(image.sum()) / 5)
    assert rows(Coded(each(lambda x, _: x.round())), inputs="analog").layer("a").macs == 16 * 12


def test_a_sparse_code_is_refused_in_words():
    def encode(x):
        places = torch.stack(
            [time(x).long().flatten(), *(one.flatten() for one in torch.meshgrid(*map(torch.arange, x.shape)))]
        )
        return torch.sparse_coo_tensor(places, torch.ones(x.numel()), (T, *x.shape)).to_dense()

    with pytest.raises(UserError, match=r"layer Coded: .* makes a sparse tensor, whose zeros cannot be counted"):
        account(Coded(encode), X, profiles=[])


def test_what_stands_in_a_table_at_the_place_that_the_data_say_depends_on_them():
    tokens = torch.randint(0, 10, (3, 5), generator=torch.Generator().manual_seed(0))
    row = rows(nn.Sequential(nn.Embedding(10, 8), nn.Flatten(), nn.Linear(40, 4)), tokens).layer("2")
    assert (row.macs, row.sops) == (160, 0)


def test_a_mask_of_the_padding_makes_no_spikes_of_a_network_without():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.fc, self.out = nn.Embedding(10, 8), nn.Linear(8, 6), nn.Linear(6, 2)

        def forward(self, tokens):
            mask = (tokens != 0)[..., None]
            h = torch.relu(self.fc(self.table(tokens))).masked_fill(~mask, 0.0)
            return self.out(h.sum(1) / mask.sum(1))

    tokens = torch.randint(0, 10, (3, 5), generator=torch.Generator().manual_seed(0))
    report = rows(Masked(), tokens)
    assert (report.total.sops, report.total.macs) == (0, 5 * 48 + 12)
