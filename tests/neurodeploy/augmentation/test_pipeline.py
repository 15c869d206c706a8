"""What holds for every augmentation, and for several one after the other."""

import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from neurodeploy.augmentation import AnyAugmentation, AutoAugment, Crop, Cutout, Flip, Mixup, augment

ANY = TypeAdapter(AnyAugmentation)
STATIC = ["crop", "flip", "cutout", "autoaugment", "mixup"]
TIMED = ["crop", "flip", "cutout", "mixup", "event-shift", "event-flip"]
CIFAR = [Crop(), Flip(), AutoAugment(), Cutout()]
SHAPES = st.tuples(st.integers(1, 5), st.integers(1, 4), st.sampled_from([1, 3]), st.integers(1, 12), st.integers(1, 12))
"""B, T, C, H, W."""


def built(kinds):
    return [ANY.validate_python({"kind": kind}) for kind in kinds]


def labels(batch):
    return torch.arange(batch) % 10


@given(SHAPES, st.booleans(), st.sampled_from([torch.float32, torch.float64, torch.bfloat16]), st.integers(0, 99), st.data())
def test_values_stay_on_the_grid_and_shape_and_type_stay_whatever_is_applied(shape, timed, dtype, seed, data):
    kind = data.draw(st.sampled_from(TIMED if timed else STATIC))
    shape = shape if timed else (shape[0], *shape[2:])
    x = (torch.randint(0, 257, shape, generator=torch.Generator().manual_seed(seed)) / 256).to(dtype)
    before = x.clone()
    y, _ = augment(x, labels(len(x)), built([kind]), classes=10, generator=torch.Generator().manual_seed(seed))
    assert (y.shape, y.dtype, y.device) == (x.shape, x.dtype, x.device)
    assert torch.equal(x, before)
    levels = y.double() * 256
    assert torch.equal(levels, levels.round())
    assert 0 <= levels.min() <= levels.max() <= 256


@pytest.mark.parametrize("kind", STATIC)
def test_the_seed_of_torch_decides_and_no_other_random_state(images, kind):
    def run(seed, other):
        torch.manual_seed(seed)
        random.seed(other)
        np.random.seed(other)  # noqa: NPY002 - the global state is the subject
        states = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
        result = augment(images, labels(128), built([kind]), classes=10)
        assert states == (random.getstate(), np.random.get_state()[1].tolist())  # noqa: NPY002
        return result

    first, again, other = run(0, 1), run(0, 2), run(3, 1)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize("kind", STATIC)
def test_a_generator_takes_the_place_of_the_default_one_and_leaves_it_alone(images, kind):
    torch.manual_seed(5)
    default, _ = augment(images, labels(128), built([kind]), classes=10)
    state = torch.get_rng_state()
    given_one, _ = augment(images, labels(128), built([kind]), classes=10, generator=torch.Generator().manual_seed(5))
    assert torch.equal(default, given_one)
    assert torch.equal(state, torch.get_rng_state())


def test_labels_become_probabilities_only_where_samples_are_mixed(images):
    y = labels(128)
    assert augment(images, y, CIFAR, classes=10)[1] is y
    _, targets = augment(images, y, [*CIFAR, Mixup()], classes=10)
    assert (targets.shape, targets.dtype) == ((128, 10), torch.float32)
    assert torch.allclose(targets.sum(1), torch.ones(128))
    _, again = augment(images, targets, [Mixup()], classes=10)
    assert torch.allclose(again.sum(0), targets.sum(0), atol=1e-4)


def test_augmentations_are_applied_in_the_order_given(images):
    holes = [augment(images, labels(128), steps, classes=10)[0] for steps in ([Cutout(), Crop()], [Crop(), Cutout()])]
    torch.manual_seed(0)
    expected = Cutout()(Crop()(images))
    torch.manual_seed(0)
    assert torch.equal(augment(images, labels(128), [Crop(), Cutout()], classes=10)[0], expected)
    assert not torch.equal(*holes)


def test_without_augmentations_a_batch_stays_itself(images):
    y = labels(128)
    x, same = augment(images, y, [], classes=10)
    assert x is images
    assert same is y


def test_each_kind_builds_the_class_of_its_name():
    for one in built({*STATIC, *TIMED}):
        assert type(one).__name__.lower() == one.kind.replace("-", "")


def test_settings_are_fixed_and_misspelt_ones_are_refused():
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        ANY.validate_python({"kind": "crop", "pading": 4})
    with pytest.raises(ValidationError, match="frozen"):
        Crop().padding = 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use")
def test_a_gpu_gives_the_same_batch_from_the_same_generator(images):
    seeds = [torch.Generator().manual_seed(0) for _ in range(2)]
    here, _ = augment(images, labels(128), [*CIFAR, Mixup()], classes=10, generator=seeds[0])
    there, targets = augment(images.cuda(), labels(128).cuda(), [*CIFAR, Mixup()], classes=10, generator=seeds[1])
    assert there.is_cuda
    assert targets.is_cuda
    assert (there.cpu() - here).abs().max() <= 1 / 256
