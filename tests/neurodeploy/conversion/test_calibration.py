import pytest
import torch

from neurodeploy.conversion import Method, convert
from neurodeploy.networks import Relu, ResNetSpec

STEPS = 4


def rates(network, samples) -> dict[str, torch.Tensor]:
    """Activation layer → mean of its output per channel."""
    with torch.no_grad():
        return {name: tap.double().mean((0, 1, 3, 4)) for name, tap in network(samples).taps.items()}


def test_the_first_layers_bias_moves_by_the_mean_difference_of_activation_and_rate(teacher, spec, samples):
    plain = convert(teacher, spec, samples, steps=STEPS, method=Method("error"))
    calibrated = convert(teacher, spec, samples, steps=STEPS, method=Method("error", calibrate=True))
    threshold = plain.act1.constants.threshold
    difference = rates(teacher, samples)["act1"] - threshold * rates(plain, samples)["act1"]
    moved = (calibrated.bn1.bias - plain.bn1.bias).detach().double()
    torch.testing.assert_close(moved, difference, rtol=1e-4, atol=1e-6)
    assert difference.abs().max() > 0.1


def test_calibration_brings_the_mean_rates_of_every_layer_closer_to_the_activations(teacher, spec, samples):
    wanted, errors = rates(teacher, samples), []
    for method in (Method("activations"), Method("activations", calibrate=True)):
        network = convert(teacher, spec, samples, steps=16, method=method)
        found = rates(network, samples)
        for name in wanted:
            unit = network.get_submodule(name).constants.threshold  # its current has unit 1, because of batch norm
            errors.append((wanted[name] - unit * found[name]).abs().mean().item())
    plain, calibrated = errors[:3], errors[3:]
    assert all(after < before for before, after in zip(plain, calibrated, strict=True))
    assert sum(calibrated) < 0.7 * sum(plain)


def test_calibration_changes_biases_alone(teacher, spec, samples):
    plain = convert(teacher, spec, samples, steps=STEPS)
    for method in (Method(calibrate=True), Method(shift=True)):
        corrected = convert(teacher, spec, samples, steps=STEPS, method=method).state_dict()
        same = {name for name, tensor in plain.state_dict().items() if torch.equal(tensor, corrected[name])}
        assert {"conv1.weight", "conv2.weight", "conv3.weight", "bn1.running_mean", "classifier.bias"} <= same
        assert not {"bn1.bias", "bn2.bias", "bn3.bias"} & same


def test_the_shift_is_half_a_threshold_over_all_steps(teacher, spec, samples):
    network = convert(teacher, spec, samples, steps=STEPS, method=Method("activations", shift=True))
    for i in (1, 2, 3):
        moved = network.get_submodule(f"bn{i}").bias - teacher.get_submodule(f"bn{i}").bias
        half = network.get_submodule(f"act{i}").constants.threshold / (2 * STEPS)
        torch.testing.assert_close(moved.detach(), torch.full_like(moved, half), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", [Method(shift=True), Method(calibrate=True)])
def test_behind_a_residual_sum_one_branch_takes_the_correction(samples, method):
    torch.manual_seed(0)
    spec = ResNetSpec(channels=(6,), blocks=(1,))
    teacher = spec.build(1, 10, Relu()).eval()
    plain, corrected = (convert(teacher, spec, samples, steps=STEPS, method=m).state_dict() for m in (Method(), method))
    assert not torch.equal(plain["block1.bn2.bias"], corrected["block1.bn2.bias"])
