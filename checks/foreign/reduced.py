"""Reduced copies of networks, each with its framework's spikes in one small file, for tests that have no framework.

The format is described in `tests/files/foreign/README.md`, and read by `checks.foreign.recorded`.
"""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import neurodeploy as nd
from checks.foreign.firing import trained_like
from checks.foreign.networks import STEPS, Network
from checks.foreign.recorded import FORMAT
from checks.foreign.recording import WEIGHTED, Recording, record
from checks.foreign.soundness import checked
from neurodeploy.graph.stored import stored

LARGEST = 40_000  # bytes


def write(network: Network, folder: Path) -> Path:
    """Write the reduced copy of a network.

    Raises:
        ValueError: its recording is not sound, is another one when it is run again, or is too large for a file of this kind.
    """
    module, inputs = network.built(small=True), network.inputs(small=True)
    recording = trained_like(network, module, inputs)
    checked(network, module, recording)
    _repeated(network, module, inputs, recording)
    described, arrays = _layers(network, module, inputs)
    description = {
        "format": FORMAT,
        "name": network.name,
        "what": network.what,
        "framework": {
            "name": network.framework.title,
            "version": version(network.framework.package),
            "torch": torch.__version__,
        },
        "called": network.call.name,
        "samples": network.samples,
        "steps": STEPS,
        "layers": described,
        "spiking": list(recording.spikes),
    }
    arrays |= {f"weights/{name}": values for name, values in _weights(module).items()}
    arrays |= {f"given/{name}": values for name, values in recording.given.items()}
    arrays |= {f"spikes/{name}": values.astype(np.uint8) for name, values in recording.spikes.items()}
    arrays |= {"input": _small(inputs.numpy()), "output": recording.output}
    nodes, held = _graph(network, module, inputs)
    description["graph"] = nodes
    arrays |= {f"graph/{name}": values for name, values in held.items()}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{network.name}.npz"
    np.savez_compressed(path, description=np.array(json.dumps(description)), **arrays)
    if path.stat().st_size > LARGEST:
        raise ValueError(
            f"{path}: {path.stat().st_size:,} bytes found, {LARGEST:,} at most expected; make its reduced copy smaller"
        )
    return path


def _graph(network: Network, module: nn.Module, inputs: Tensor) -> tuple[list[dict[str, Any]], dict[str, NDArray[Any]]]:
    """The graph that the network became, or none if it is refused."""
    network.framework.reset(module)
    samples, options = network.deployed(inputs)
    try:
        graph = nd.deploy(module, samples, name=network.name, **options).graph
    except nd.UserError:
        return [], {}
    assert graph is not None
    nodes, arrays = stored(graph)
    return [node.model_dump(mode="json") for node in nodes], arrays


def _weights(module: nn.Module) -> dict[str, NDArray[Any]]:
    """Parameters, and the statistics of batch norms; other buffers are states, or constants that neurons tell."""
    found = {name: values for name, values in module.named_parameters() if values.numel()}
    for name, part in module.named_modules():
        if isinstance(part, WEIGHTED):
            found |= {f"{name}.{key}": values for key, values in part.named_buffers() if values.is_floating_point()}
    return {name: values.detach().numpy() for name, values in found.items()}


def _repeated(network: Network, module: nn.Module, inputs: Tensor, recording: Recording) -> None:
    again = record(network, module, inputs)
    for name, values in recording.spikes.items():
        if not np.array_equal(values, again.spikes[name]):
            raise ValueError(f"{network.name}: {name} fires otherwise when it is run again from a fresh state")


def _small(values: NDArray[np.float32]) -> NDArray[Any]:
    """Spikes in bytes."""
    return values.astype(np.uint8) if set(np.unique(values)) <= {0, 1} else values


def _layers(network: Network, module: nn.Module, inputs: Tensor) -> tuple[list[dict[str, Any]], dict[str, NDArray[Any]]]:
    """Modules without parts, and neurons, in the order of their first call: what each is, reads, and is set to."""
    order: list[dict[str, Any]] = []
    made: dict[int, str] = {}  # what a tensor is the answer of
    kept: list[Any] = []  # so that no tensor's identity is used twice

    def watched(name: str) -> Any:
        def hook(part: nn.Module, given: Any, answer: Any) -> None:
            kept.extend((given, answer))
            if all(layer["name"] != name for layer in order):
                reads = made.get(id(given[0]), "") if given else ""
                order.append({"name": name, "kind": type(part).__name__, "reads": reads, "settings": _settings(part)})
            made[id(answer[0] if isinstance(answer, tuple) else answer)] = name

        return hook

    def entering(_: nn.Module, given: Any) -> None:
        kept.append(given)
        made[id(given[0])] = "input"

    parts = {
        name: part
        for name, part in module.named_modules()
        if network.framework.spiking(part) or not any(True for _ in part.children())
    }
    inner = {f"{name}.{below}" for name, part in parts.items() for below, _ in part.named_modules() if below}
    handles = [part.register_forward_hook(watched(name)) for name, part in parts.items() if name not in inner]
    handles.append(module.register_forward_pre_hook(entering))
    try:
        network.run(module, inputs)
    finally:
        for handle in handles:
            handle.remove()
    arrays = {}
    for layer in order:
        if network.framework.spiking(module.get_submodule(layer["name"])):
            constants = network.framework.constants(module.get_submodule(layer["name"]))
            layer["constants"] = {key: value for key, value in constants.items() if not isinstance(value, np.ndarray)}
            arrays |= {
                f"constants/{layer['name']}/{key}": value for key, value in constants.items() if isinstance(value, np.ndarray)
            }
    return order, arrays


_SET = (
    "kernel_size",
    "stride",
    "padding",
    "dilation",
    "groups",
    "eps",
    "output_size",
    "start_dim",
    "end_dim",
    "delay_steps",
    "tau",
    "learnable",
)


def _settings(part: nn.Module) -> dict[str, Any]:
    """Numbers that say what a layer computes, beside its weights."""
    values = {key: getattr(part, key, None) for key in _SET}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items() if _plain(value)}


def _plain(value: Any) -> bool:
    return isinstance(value, int | float | str) or (isinstance(value, tuple) and all(isinstance(one, int) for one in value))
