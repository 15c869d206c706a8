"""spyx's side; run in its environment by `checks.nir_frameworks`."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import NDArray
from spyx import nn
from spyx.nir import from_nir, to_nir

import nir
from checks.nir.exchange import Make, serve, spikes

STEPS, BATCH = 12, 4


def run(path: Path, inputs: NDArray[np.float32]) -> NDArray[Any]:
    """A sequence at once, with the channels last. The time step is that of files which are written for it."""
    graph = nir.read(path)
    dt = float(graph.metadata.get("dt", 1.0))
    _, outputs = from_nir(graph, jnp.asarray(_last(inputs, 2)), dt=dt)
    return _first(np.asarray(outputs), 2)


def _last(values: NDArray[Any], axis: int) -> NDArray[Any]:
    return np.moveaxis(values, axis, -1) if values.ndim == 5 else values


def _first(values: NDArray[Any], axis: int) -> NDArray[Any]:
    return np.moveaxis(values, -1, axis) if values.ndim == 5 else values


def _made(net: Any, inputs: int, outputs: int) -> Make:
    def make(path: Path) -> tuple[NDArray[np.float32], NDArray[Any]]:
        given = spikes(7, STEPS, BATCH, inputs)
        answer, _ = nn.run(net, jnp.asarray(given))
        shapes = {"input": np.array([inputs])}, {"output": np.array([outputs])}
        nir.write(path, to_nir(net, *shapes))
        return given, np.asarray(answer)

    return make


def _linear(inputs: int, outputs: int) -> Any:
    layer = nnx.Linear(inputs, outputs, rngs=nnx.Rngs(0))
    random = np.random.default_rng(1)
    layer.kernel[...] = jnp.asarray(random.normal(0.1, 0.5, (inputs, outputs)), jnp.float32)
    return layer


def makers() -> dict[str, Make]:
    """Networks of its own; their spikes come a step after the potential."""
    rngs = nnx.Rngs(0)
    return {
        "lif": _made(nn.Sequential(_linear(20, 16), nn.LIF((16,), beta=0.75, rngs=rngs)), 20, 16),
        "if": _made(nn.Sequential(_linear(20, 16), nn.IF((16,), threshold=1.0)), 20, 16),
        "cuba": _made(nn.Sequential(_linear(20, 16), nn.CuBaLIF((16,), alpha=0.5, beta=0.75, rngs=rngs)), 20, 16),
        "deep": _made(
            nn.Sequential(
                _linear(20, 16),
                nn.LIF((16,), beta=0.9, rngs=rngs),
                _linear(16, 8),
                nn.LIF((8,), beta=0.5, threshold=0.5, rngs=rngs),
            ),
            20,
            8,
        ),
    }


if __name__ == "__main__":
    serve(run, makers())
