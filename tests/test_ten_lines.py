"""The ten lines that the product promises, as they are written, on networks and data of users."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_wine
from sklearn.preprocessing import StandardScaler
from torch import nn

import neurodeploy as nd
from neurodeploy.conversion import Method
from neurodeploy.data import Cifar10, Fsdd, IdxFiles

sys.path.insert(0, str(Path(__file__).parent / "own"))
from cifar_resnets import ResNet8, ResNet20, with_weights
from small_networks import Spoken, Symbols, fitted, wine

GIVEN = os.environ.get("NEURODEPLOY_TEST_DATA")
"""A folder with `teachers/`, weights of others, and `data/`, data sets as their publishers lay them out."""
needs_files = pytest.mark.skipif(GIVEN is None, reason="NEURODEPLOY_TEST_DATA names no folder with weights and data of others")


def ten_lines(ann, samples, train_set, folder, *, epochs=3, steps=4, compared=16):
    """Line by line as in the documents, but for fewer samples where a network is large; what they gave."""
    student = nd.spiking(ann, samples, steps=steps)
    nd.distill(
        student,
        ann,
        train_set,
        losses=[nd.losses.Response(weight=0.5), nd.losses.Activity(weight=0.1)],
        epochs=epochs,
        folder=folder,
        progress=False,
    )
    model = nd.deploy(student, samples[:compared])
    bundles = [
        nd.export(model, target, folder / f"{target}-{quantize}", samples=4, quantize=quantize)
        for quantize in ("none", "exact")
        for target in ("onnx", "lava")
    ]
    checks = [nd.verify(bundle) for bundle in bundles]
    report = nd.energy(model, samples[:compared], baseline=ann)
    report.save(folder / "report")
    assert all(check.passed for check in checks), [str(check) for check in checks]
    assert [check.mismatches for check in checks[2:]] == [0, 0]
    assert all(check.spikes_compared > 0 for check in checks)
    assert (folder / "report" / "report.html").is_file() or list((folder / "report").glob("*.html"))
    assert report.comparison is not None
    return student


def agreement(ann, samples, of, steps=256):
    """Share of answers that a twin of so many steps has in common with its network."""
    twin = nd.spiking(ann, samples, steps=steps)
    with torch.no_grad():
        wanted = ann(of).argmax(1)
        # in small batches, whose tensors stay in the caches
        return (torch.cat([twin(batch).logits for batch in of.split(2)]).argmax(1) == wanted).float().mean().item()


def test_a_plain_sequential_network_on_wine(tmp_path):
    x, y = load_wine(return_X_y=True)
    x, y = torch.from_numpy(StandardScaler().fit_transform(x).astype(np.float32)), torch.from_numpy(y)
    test = torch.arange(len(y)) % 4 == 3
    torch.manual_seed(0)
    ann = fitted(wine(), x[~test], y[~test], epochs=40)
    student = ten_lines(ann, x[~test], (x[~test], y[~test]), tmp_path / "mine")
    with torch.no_grad():
        assert (student(x[test]).logits.argmax(1) == y[test]).float().mean() >= 0.9
    assert agreement(ann, x[~test], x[test]) >= 0.99


def idx_files(folder: Path) -> IdxFiles:
    """Digits of 16×16 pixels, and two classes more: what is left of 0 and 1 when they are turned into their negatives."""
    images, labels = load_digits(return_X_y=True)
    images = np.kron(images.reshape(-1, 8, 8) / 16 * 255, np.ones((2, 2))).astype(np.uint8)
    few = labels < 2
    images, labels = np.concatenate([images, 255 - images[few]]), np.concatenate([labels, labels[few] + 10]).astype(np.uint8)
    order = np.random.default_rng(0).permutation(len(labels))
    for name, array in (("train-images-idx3-ubyte", images[order]), ("train-labels-idx1-ubyte", labels[order])):
        header = bytes((0, 0, 8, array.ndim)) + b"".join(size.to_bytes(4, "big") for size in array.shape)
        (folder / name).write_bytes(header + array.tobytes())
    return IdxFiles(folder=folder)


def test_an_idx_data_set_of_16_by_16_pixels_and_12_classes(tmp_path):
    settings = idx_files(tmp_path)
    data = settings.load()
    assert (data.sample_shape, data.classes) == ((1, 16, 16), 12)
    torch.manual_seed(0)
    ann = fitted(Symbols(), data.train_samples[:800], data.train_labels[:800], epochs=4)
    student = ten_lines(ann, data.train_samples[:100], settings, tmp_path / "mine", epochs=1)
    assert nd.evaluate(student, data.test_samples[:200], data.test_labels[:200]).accuracy.percent > 60
    assert agreement(ann, data.train_samples[:32], data.test_samples[:100]) >= 0.99


@needs_files
def test_a_network_over_time_on_spoken_digits(tmp_path):
    data = Fsdd(folder=Path(str(GIVEN), "data", "fsdd"), layout="sequence").load()
    samples = data.train_samples[:]
    torch.manual_seed(0)
    ann = fitted(Spoken(samples.shape[1]), samples, data.train_labels, epochs=10)
    ten_lines(ann, samples[:64], (samples[:300], data.train_labels[:300]), tmp_path / "mine", epochs=1)
    assert agreement(ann, samples[:300], data.test_samples[:]) >= 0.99


RESIDUAL = [
    (
        ResNet20,
        "cifar10-resnet20",
        {"scale": "1/255", "normalize": {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}},
    ),
    (ResNet8, "mlperf-tiny-resnet8", {"scale": "1"}),
]
"""Network, file of weights, and how its samples are made of bytes."""


@needs_files
@pytest.mark.parametrize(("network", "weights", "settings"), RESIDUAL)
def test_residual_networks_with_weights_of_others(network, weights, settings, tmp_path):
    data = Cifar10(folder=Path(str(GIVEN), "data", "cifar10"), train_limit=4, test_limit=10, **settings).load()
    ann: nn.Module = with_weights(network(), Path(str(GIVEN), "teachers", f"{weights}.safetensors"))
    assert nd.evaluate(ann, data.test_samples[:], data.test_labels).accuracy.percent > 80
    samples = data.train_samples[:]
    ten_lines(ann, samples[:8], (samples[:16], data.train_labels[:16]), tmp_path / "mine", epochs=1, steps=2, compared=2)


@needs_files
@pytest.mark.parametrize(("network", "weights", "settings"), RESIDUAL)
def test_a_residual_network_answers_with_spikes_what_it_answers_without(network, weights, settings):
    """A few images alone, since each of 256 steps costs what the network costs."""
    data = Cifar10(folder=Path(str(GIVEN), "data", "cifar10"), train_limit=4, test_limit=2, **settings).load()
    ann = with_weights(network(), Path(str(GIVEN), "teachers", f"{weights}.safetensors"))
    assert agreement(ann, data.train_samples[:], data.test_samples[:]) > 0.94  # of 20: at most one may differ


@needs_files
@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_a_twin_of_few_steps_starts_far_better_calibrated_than_not(reset):
    network, weights, settings = RESIDUAL[1]
    data = Cifar10(folder=Path(str(GIVEN), "data", "cifar10"), train_limit=10, test_limit=10, **settings).load()
    ann = with_weights(network(), Path(str(GIVEN), "teachers", f"{weights}.safetensors"))
    samples = data.train_samples[:]
    before = nd.spiking(ann, samples, steps=16, reset=reset, method=Method("activations", 99.9, shift=True))
    after = nd.spiking(ann, samples, steps=16, reset=reset)
    with torch.no_grad():
        wanted = ann(data.test_samples[:]).argmax(1)
        same = [(twin(data.test_samples[:]).logits.argmax(1) == wanted).float().mean() for twin in (before, after)]
    assert same[1] > same[0] + 0.1
