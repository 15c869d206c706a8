"""What chosen neurons of one sample emit, step by step."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from neurodeploy.io.errors import UserError
from neurodeploy_energy.count.one_pass import evaluating
from neurodeploy_energy.count.recognition import NeuronLayer, neurons_of, reset_states

_EACH = 16


def record(model: nn.Module, sample: Tensor, neurons: Mapping[str, Sequence[int]] | int = _EACH) -> dict[str, Tensor]:
    """Run one sample and keep what chosen neurons emit.

    Args:
        model: any torch module; called in evaluation mode, without gradients, and left as it was.
        sample: as the model takes it, with one sample in its batch.
        neurons: spiking layer → numbers of its neurons, counted over all axes of a sample; or how many of every layer, drawn
            once at random.

    Returns:
        Spiking layer → `[T, neurons]`.

    Raises:
        UserError: there is no spiking layer, none of that name, or no neuron of that number.
    """
    layers = {name: (module, layer) for name, module in model.named_modules() if (layer := neurons_of(module)) and layer.fires}
    wanted = layers if isinstance(neurons, int) else neurons
    if not layers:
        raise UserError("no spiking layer found; teach the counter its class with register_neuron")
    for name in wanted:
        if name not in layers:
            raise UserError(f"layer {name}: no spiking layer of that name; there are {', '.join(layers)}")
    kept: dict[str, list[Tensor]] = {name: [] for name in wanted}
    handles = [layers[name][0].register_forward_hook(_keeper(kept[name], layers[name][1])) for name in wanted]
    try:
        with evaluating(model), torch.no_grad():
            reset_states(model)
            model(sample)
    finally:
        for handle in handles:
            handle.remove()
    emitted = {name: torch.cat(steps).flatten(1) for name, steps in kept.items() if steps}
    return {name: spikes[:, _numbers(name, spikes.shape[1], neurons)] for name, spikes in emitted.items()}


def _keeper(steps: list[Tensor], neurons: NeuronLayer) -> Callable[..., None]:
    def hook(_module: nn.Module, _inputs: tuple[Any, ...], output: Any) -> None:
        rows, _, _ = neurons.by_row((output[0] if isinstance(output, tuple) else output).detach().cpu())
        steps.append(rows)

    return hook


def _numbers(name: str, count: int, neurons: Mapping[str, Sequence[int]] | int) -> list[int]:
    if isinstance(neurons, int):
        drawn = torch.randperm(count, generator=torch.Generator().manual_seed(0))[:neurons]
        return sorted(drawn.tolist())
    for number in neurons[name]:
        if not 0 <= number < count:
            raise UserError(f"layer {name}: neuron {number} asked for, a number from 0 to {count - 1} expected")
    return list(neurons[name])
