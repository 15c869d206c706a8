"""Event frames: all time steps of a recording change alike."""

import pytest
import torch

from neurodeploy.augmentation import Crop, Cutout, EventFlip, EventShift, Flip
from neurodeploy.io.errors import UserError

ANY = [Crop(), Flip(), Cutout(), EventShift(), EventFlip(polarity=0.5)]


@pytest.mark.parametrize("augmentation", ANY, ids=lambda one: one.kind)
def test_all_steps_of_a_recording_change_alike(frames, augmentation):
    y = augmentation(frames, torch.Generator().manual_seed(0))
    for step in range(frames.shape[1]):
        alone = augmentation(frames[:, step : step + 1], torch.Generator().manual_seed(0))
        assert torch.equal(y[:, step : step + 1], alone)
    assert not torch.equal(y, frames)


@pytest.mark.parametrize("augmentation", [Crop(), Flip(), Cutout()], ids=lambda one: one.kind)
def test_a_static_image_changes_as_a_recording_of_one_step_does(images, augmentation):
    static, timed = (augmentation(x, torch.Generator().manual_seed(0)) for x in (images, images.unsqueeze(1)))
    assert torch.equal(static, timed.squeeze(1))


def test_a_shift_rolls_each_recording_by_its_own_distance(frames):
    y = EventShift(pixels=3)(frames, torch.Generator().manual_seed(0))
    found = []
    for before, after in zip(frames, y, strict=True):
        shifts = [(i, j) for i in range(-3, 4) for j in range(-3, 4)]
        found += [shift for shift in shifts if torch.equal(before.roll(shift, (-2, -1)), after)]
    assert len(found) == len(frames)
    assert len(set(found)) > 15


def test_all_shifts_are_equally_likely():
    x = torch.zeros(4900, 1, 1, 9, 9)
    x[..., 4, 4] = 1
    y = EventShift(pixels=3)(x, torch.Generator().manual_seed(0))
    counts = y.sum((0, 1, 2))[1:8, 1:8]
    assert counts.sum() == 4900
    assert (counts - 100).abs().max() < 5 * 10  # 100 expected of each, standard deviation 10


@pytest.mark.parametrize(("horizontal", "polarity"), [(0.5, 0.0), (0.0, 1.0), (0.3, 0.6)])
def test_recordings_are_mirrored_and_exchange_polarity_independently(horizontal, polarity):
    x = torch.zeros(4000, 1, 2, 1, 2)
    x[:, :, 0, :, 0] = 1
    y = EventFlip(horizontal=horizontal, polarity=polarity)(x, torch.Generator().manual_seed(0)).squeeze()
    for channel in range(2):
        for column in range(2):
            wanted = (polarity if channel else 1 - polarity) * (horizontal if column else 1 - horizontal)
            deviation = (wanted * (1 - wanted) / 4000) ** 0.5
            assert abs(y[:, channel, column].mean().item() - wanted) <= 5 * deviation


@pytest.mark.parametrize("augmentation", [EventShift(), EventFlip()], ids=lambda one: one.kind)
def test_static_images_are_refused_in_one_line(images, augmentation):
    with pytest.raises(UserError, match=rf"^{augmentation.kind}: static samples found, event frames expected; .*$"):
        augmentation(images)


def test_polarities_are_exchanged_only_between_two_channels(frames):
    with pytest.raises(UserError, match=r"^event-flip: 1 channels found, 2 expected"):
        EventFlip(polarity=0.5)(frames[:, :, :1])
