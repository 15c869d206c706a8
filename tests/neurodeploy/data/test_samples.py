"""Samples that are read when they are asked for give what a tensor gives, whoever reads them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.data import Normalization
from neurodeploy.data.feeding import feed, in_batches
from neurodeploy.data.samples import Chosen, Normalized, chosen, numbers_of
from neurodeploy.io.errors import Failure, UserError

VALUES = torch.arange(20 * 2 * 3 * 3, dtype=torch.float32).reshape(20, 2, 3, 3)
LABELS = torch.arange(20) % 4


class Stored:
    """Twenty samples behind the interface; number 13 is broken where `broken` says so."""

    shape = VALUES.shape

    def __init__(self, broken=False, fatal=False):
        self.broken, self.fatal = broken, fatal

    def __len__(self):
        return 20

    def __getitem__(self, index):
        numbers = numbers_of(index, 20)
        if self.broken and 13 in numbers.tolist():
            raise UserError("sample 13: broken")
        if self.fatal:
            import os

            os._exit(9)
        return VALUES[numbers]


@given(st.lists(st.integers(-20, 19), max_size=30))
def test_an_index_means_what_it_means_to_a_tensor(numbers):
    index = torch.tensor(numbers, dtype=torch.long)
    assert torch.equal(Stored()[index], VALUES[index])


@given(st.slices(20).filter(lambda part: (part.step or 1) > 0))
def test_a_slice_means_what_it_means_to_a_tensor(part):
    assert torch.equal(Stored()[part], VALUES[part])
    assert torch.equal(Chosen(Stored(), torch.arange(20))[part], VALUES[part])


def test_a_number_that_is_none_is_refused():
    with pytest.raises(IndexError, match="samples 0 to 20 of 20"):
        Stored()[torch.tensor([0, 20])]


def test_chosen_samples_are_those_of_a_tensor():
    numbers = torch.tensor([5, 3, 19])
    view = chosen(Stored(), numbers)
    assert view.shape == (3, 2, 3, 3)
    assert torch.equal(view[:], chosen(VALUES, numbers))
    assert torch.equal(view[torch.tensor([2])], VALUES[19:])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("samples", [VALUES, Stored(), Normalized(Stored(), Normalization(mean=(1.0, 2.0), std=(2.0, 4.0)))])
def test_batches_come_in_the_order_asked_for(samples, workers):
    batches = torch.randperm(20).split(3)
    state = torch.get_rng_state()
    fed = list(feed(samples, LABELS, batches, workers))
    assert torch.equal(torch.get_rng_state(), state)
    assert len(fed) == 7
    for (numbers, x, y), expected in zip(fed, batches, strict=True):
        assert torch.equal(numbers, expected)
        assert torch.equal(x, samples[expected])
        assert torch.equal(y, LABELS[expected])


def test_batches_can_be_gone_through_twice():
    batches = in_batches(Stored(), 6, workers=1)
    assert [len(batch) for batch in batches] == [6, 6, 6, 2]
    assert torch.equal(torch.cat(list(batches)), VALUES)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_sample_is_named_in_one_line(workers):
    with pytest.raises(UserError, match=r"^sample 13: broken$"):
        list(feed(Stored(broken=True), LABELS, torch.arange(20).split(3), workers))


def test_a_worker_that_dies_is_a_failure():
    with pytest.raises(Failure, match=r"data\.workers: .*exited unexpectedly.*0 to read in the process that trains"):
        list(feed(Stored(fatal=True), LABELS, torch.arange(20).split(3), 1))


def test_each_channel_is_normalised():
    normalization = Normalization(mean=(0.5, 10.0), std=(2.0, 0.25))
    view = Normalized(Stored(), normalization)
    expected = (VALUES - torch.tensor([0.5, 10.0]).reshape(2, 1, 1)) / torch.tensor([2.0, 0.25]).reshape(2, 1, 1)
    assert torch.equal(view[:], expected)
    assert torch.equal(chosen(view, torch.tensor([4]))[:], expected[4:5])


def test_event_frames_have_their_channels_after_time():
    frames = torch.rand(4, 5, 2, 3, 3)
    view = Normalized(frames, Normalization(mean=(0.0, 1.0), std=(1.0, 2.0)), timed=True)
    assert torch.equal(view[:][:, :, 1], (frames[:, :, 1] - 1) / 2)


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ((0.0,), (0.0,), "greater than 0"),
        ((0.0, 1.0), (1.0,), "2 values of mean and 1 of std"),
        ((float("nan"),), (1.0,), "finite"),
    ],
)
def test_a_normalisation_that_is_none_is_refused(mean, std, message):
    with pytest.raises(ValueError, match=message):
        Normalization(mean=mean, std=std)
