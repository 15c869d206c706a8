"""Large tensors are counted piece by piece, which must change no count."""

from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from neurodeploy.dynamics.layers import AvgPool2d, Flatten, Neuron
from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy_energy import account
from neurodeploy_energy.count import signals

KINDS = {
    "spikes": lambda x: (x > 0.7).float(),
    "ternary": lambda x: (x > 0.7).float() - (x < 0.2).float(),
    "graded": lambda x: (5 * x).floor(),
    "analog": lambda x: x,
    "rows of each kind": lambda x: torch.cat([(x[:2] > 0.5).float(), (4 * x[2:4]).floor(), x[4:]]),
    "silence": torch.zeros_like,
}


def values(kind: str, shape: tuple[int, ...], seed: int) -> Tensor:
    """Values of one kind; those of spikes at random."""
    return KINDS[kind](torch.rand(shape, generator=torch.Generator().manual_seed(seed)))


@given(kind=st.sampled_from(sorted(KINDS)), piece=st.integers(4, 2000), last=st.booleans(), seed=st.integers(0, 99))
def test_a_signal_is_the_same_however_small_the_pieces_are(kind: str, piece: int, last: bool, seed: int):
    x = values(kind, (6, 3, 4, 5), seed)
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    whole = signals.signal_of(x, (3, 4, 5))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signals, "_PIECE", piece)
        cut = signals.signal_of(x, (3, 4, 5))
    for name in ("rows", "channels", "places", "spikes", "graded", "analog", "strides", "is_contiguous"):
        assert getattr(cut, name) == getattr(whole, name), name
    assert torch.equal(cut.magnitude, whole.magnitude)
    assert torch.equal(cut.present, whole.present)
    assert (cut.fractions is None) == (whole.fractions is None)
    assert whole.fractions is None or torch.equal(cut.fractions, whole.fractions)


@given(
    kind=st.sampled_from(sorted(KINDS)),
    piece=st.sampled_from([40, 2**18]),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.float16, torch.bfloat16]),
    order=st.permutations(range(4)),
    odd=st.sampled_from([0.0, -0.0, -3.0, 2.0**22, float("inf"), float("nan")]),
    seed=st.integers(0, 99),
)
def test_a_signal_is_what_its_values_are(kind: str, piece: int, dtype: torch.dtype, order: list[int], odd: float, seed: int):
    x = values(kind, (6, 3, 4, 5), seed).to(dtype)
    x[4, 1, 2, 3] = odd
    x = x.permute(order).contiguous().permute([order.index(axis) for axis in range(4)])  # axes in any order in memory
    exact = x.double()
    there, whole = exact != 0, (exact == exact.round()) & exact.isfinite()
    ones = exact.abs() == 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signals, "_PIECE", piece)
        signal = signals.signal_of(x, (3, 4, 5))
        assert signals.count_nonzero(x) == int(there.sum())
    counts = (signal.spikes, signal.graded, signal.analog)
    assert counts == (int(ones.sum()), int((there & whole & ~ones).sum()), int((there & ~whole).sum()))
    assert torch.equal(signal.present, there.double().sum(1).flatten(1))
    assert torch.equal(signal.magnitude, torch.where(whole, exact.abs(), 0).sum(1).flatten(1))
    fractions = torch.zeros_like(signal.present) if signal.fractions is None else signal.fractions
    assert torch.equal(fractions, (there & ~whole).double().sum(1).flatten(1))


@given(piece=st.integers(4, 2000), kinds=st.tuples(*[st.sampled_from(sorted(KINDS))] * 2), seed=st.integers(0, 99))
def test_values_that_are_not_zero_are_counted_alike_in_pieces(piece: int, kinds: tuple[str, str], seed: int):
    one, other = (values(kind, (6, 3, 4, 5), seed + i) for i, kind in enumerate(kinds))
    other = other.contiguous(memory_format=torch.channels_last)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signals, "_PIECE", piece)
        assert signals.count_nonzero(other) == int(torch.count_nonzero(other))
        assert signals.count_either(one, other) == int(((one != 0) | (other != 0)).sum())
        assert signals.count_either(one.half(), -other.half()) == int(((one.half() != 0) | (other != 0)).sum())


@pytest.mark.parametrize("piece", [40, 1000])
def test_a_report_is_the_same_however_small_the_pieces_are(piece: int, monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(0)
    lif = partial(Neuron, NeuronParameters(0.5, 0.3))
    network = nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), lif(), AvgPool2d(2), nn.Conv2d(6, 4, 3), lif(), Flatten(), nn.Linear(16, 5), lif()
    )
    with torch.no_grad():
        network[3].weight[:, ::2, 1] = 0  # weights of zero in some channels
    samples = torch.rand(4, 2, 8, 8)

    class Steps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: Tensor) -> Tensor:
            frames = torch.stack([x, 1 - x, x.round()])
            for layer in self.network:
                frames = layer(frames.flatten(0, 1)).unflatten(0, (3, -1)) if isinstance(layer, nn.Conv2d) else layer(frames)
            return frames

    whole = account(Steps(), [samples])
    monkeypatch.setattr(signals, "_PIECE", piece)
    cut = account(Steps(), [samples])
    assert cut.layers == whole.layers
    assert cut.total == whole.total
    assert any("folded in" in row.note for row in whole.layers)
    assert whole.total.sops_nonzero_weights < whole.total.sops
