"""Do the subjects compute the same spikes? Whole networks on the exact grid, single neurons on any float32 currents."""

import gc
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from benchmarks.ours import Ours
from benchmarks.results import NetworkAgreement, NeuronAgreement
from benchmarks.setting import LIF, Setting, currents, sample, weights
from benchmarks.subject import Network, Subject
from neurodeploy.dynamics.neurons import NeuronParameters, Reset


def build(subject: Subject, setting: Setting, device: str = "cpu") -> Network:
    """The subject's network with the common weights."""
    network = subject.network(setting)
    network.load(weights(setting))
    return network.to(device)


def record(subject: Subject, network: Network, images: Tensor) -> tuple[list[Tensor], Tensor]:
    """Spikes `[T, B, C, H, W]` of every layer, as 0 and 1 in uint8, and the logits `[B, K]`."""
    layers = range(1, len(network.setting.strides) + 1)
    outputs: dict[int, list[object]] = {layer: [] for layer in layers}
    hooks = [
        network.output_of(layer).register_forward_hook(lambda _m, _i, output, layer=layer: outputs[layer].append(output))
        for layer in layers
    ]
    try:
        with subject.running(), torch.no_grad():
            logits = network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return [subject.spikes(outputs[layer], network.setting).to(torch.uint8).cpu() for layer in layers], logits.cpu()


def gradients(subject: Subject, network: Network, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Gradients of the cross-entropy by weight name."""
    network.zero_grad(set_to_none=True)
    with subject.running():
        cross_entropy(network(images), labels).backward()
    return {name: value.grad.clone() for name, value in network.named_parameters() if value.grad is not None}


def compare_networks(subject: Subject, setting: Setting, device: str = "cpu") -> NetworkAgreement:
    """Its spikes, logits and gradients against those of our default kernel."""
    torch.compiler.reset()  # a compiled kernel would fall back to the loop after eight variants, of all settings together
    ours = Ours(detach_reset="detached" in subject.surrogate)
    images, labels = (x.to(device) for x in sample(setting))
    mine, theirs = build(ours, setting, device), build(subject, setting, device)
    expected, logits = record(ours, mine, images)
    found, their_logits = record(subject, theirs, images)
    worst = None
    if subject.same_gradient:
        expected_gradients = gradients(ours, mine, images, labels)
        found_gradients = gradients(subject, theirs, images, labels)
        worst = max(relative_difference(value, found_gradients[name]) for name, value in expected_gradients.items())
    agreement = NetworkAgreement(
        subject=subject.name,
        steps=setting.steps,
        first_layer=setting.first_layer,
        compared=sum(layer.numel() for layer in expected),
        spikes=sum(int(layer.sum()) for layer in expected),
        different=sum(different(a, b) for a, b in zip(expected, found, strict=True)),
        logits_difference=float((logits - their_logits).abs().max()),
        gradient_difference=worst,
    )
    del mine, theirs
    gc.collect()
    return agreement


def compare_neurons(subject: Subject, reset: Reset, parameters: NeuronParameters | None = None) -> NeuronAgreement:
    """Its neuron alone against ours, λ = 1/2 and θ = 1 unless told."""
    parameters = replace(parameters or LIF, reset=reset)
    current = currents()
    expected, found = Ours().fire(current, parameters), subject.fire(current, parameters)
    return NeuronAgreement(
        subject=subject.name,
        reset=reset,
        compared=expected.numel(),
        different=different(expected, found),  # type: ignore[arg-type]
    )


def different(expected: Tensor, found: Tensor) -> int:
    """How many entries differ.

    Raises:
        ValueError: the shapes are not equal.
    """
    if expected.shape != found.shape:
        raise ValueError(f"spikes of shape {tuple(expected.shape)} expected, {tuple(found.shape)} found")
    return int((expected != found).sum())


def relative_difference(expected: Tensor, found: Tensor) -> float:
    """`‖a − b‖ / ‖a‖`; 0 where both are 0."""
    gap, norm = (expected - found).norm(), expected.norm()
    return float(gap / norm) if norm else float(gap)
