"""Runs `.net` files in Lava's own netx, on a CPU in fixed point, and compares every spike with the simulator's.

    python -m checks.netx runs/loihi/lava [NETWORK.net …]

Needs lava-nc and lava-dl beside the toolkit, and the numpy that they ask for (below 2), so an environment of its own: `make
netx` prepares it, and runs the bundles that `checks.lava_bundles` writes.

Of a bundle, the samples that it holds are run; of a file, random spikes. Bundles whose body is a circuit are named and left
out, since netx reads `.net` files alone. Exits with 1 if a spike differs, or nothing was compared.
"""

import argparse
import dataclasses
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from neurodeploy_exporters.bundle import read_bundle
from neurodeploy_exporters.lava.netfile import read
from neurodeploy_exporters.lava.reading import smallest_input
from neurodeploy_exporters.lava.simulate import simulate

_SAMPLES, _STEPS = 2, 30


def _lava() -> Any:
    """netx, on a Python that Lava does not know yet: from 3.11 on, dataclasses refuse the defaults that some of its have."""
    source = inspect.getsource(dataclasses)
    lenient = source.replace("f.default.__class__.__hash__ is None", "f.default.__class__ in (list, dict, set)")
    exec(compile(lenient, str(dataclasses.__file__), "exec"), vars(dataclasses))  # its own source, with one condition changed
    # its object detection is imported with it, and asks for OpenCV and torchvision
    sys.modules.setdefault("lava.lib.dl.slayer.object_detection", ModuleType("lava.lib.dl.slayer.object_detection"))
    from lava.lib.dl.netx import hdf5

    return hdf5.Network


def fired(path: Path, spikes: Any, steps: int) -> list[Any]:
    """What each block fires, `[T, …]` with the axes of the simulator.

    Args:
        path: of a `.net` file.
        spikes: `[T, …]` of one sample.
        steps: to run.
    """
    network = _lava()(net_config=str(path), input_shape=spikes.shape[:0:-1])
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc import io

    data = np.zeros((*spikes.shape[:0:-1], steps))  # axes the other way round, time last
    data[..., : len(spikes)] = spikes.T
    source = io.source.RingBuffer(data=data)
    source.s_out.connect(network.inp)
    sinks = []
    for layer in network.layers:
        if hasattr(layer, "neuron"):
            sinks.append(io.sink.RingBuffer(shape=layer.out.shape, buffer=steps))
            layer.out.connect(sinks[-1].a_in)
    network.run(condition=RunSteps(num_steps=steps), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
    made = [sink.data.get().T != 0 for sink in sinks]
    network.stop()
    return made


def compare(path: Path, samples: Any) -> tuple[int, int, int]:
    """Differing spikes, spike values compared, and spikes fired.

    Args:
        path: of a `.net` file.
        samples: `[T, B, …]`.
    """
    network = read(path)
    shape = network.input_shape or smallest_input(network) or samples.shape[2:]
    steps, wrong, total, count = len(samples) + len(network.blocks()) + 4, 0, 0, 0
    for number in range(samples.shape[1]):
        one = samples[:, number].reshape(len(samples), *shape).astype(np.int64)
        mine = simulate(network, one[:, None], steps, record=("s",), input_shape=shape)
        for spikes, theirs in zip(mine.values(), fired(path, one, steps), strict=True):
            wrong += int((spikes[:, 0] != theirs.reshape(spikes[:, 0].shape)).sum())
            total, count = total + spikes.size, count + int(spikes.sum())
    return wrong, total, count


def _samples(path: Path) -> tuple[Path, Any] | None:
    """The file of a bundle or itself, and spikes `[T, B, …]` to run it on; None for a body that netx cannot read."""
    if not path.is_dir():
        network = read(path)
        shape = network.input_shape or smallest_input(network) or ()
        return path, np.random.default_rng(0).random((_STEPS, _SAMPLES, *shape)) < 0.3
    bundle = read_bundle(path)
    body = next(piece for piece in bundle.manifest.chain if piece.name == "body")
    if body.format != "net":
        return None
    with np.load(path / "sample.npz") as held:
        entry = f"spikes/{body.inputs[0]}"
        return bundle.path(body.file), held[entry if entry in held else "inputs"][:, :_SAMPLES]


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare Lava's netx with the simulator, spike by spike.")
    parser.add_argument("paths", nargs="+", type=Path, help="bundles for Loihi, or .net files")
    failed, compared = False, 0
    for path in parser.parse_args().paths:
        given = _samples(path)
        if given is None:
            print(f"{path}: its body is a circuit, which netx does not read; not compared", flush=True)
            continue
        wrong, total, count = compare(*given)
        print(f"{path}: {wrong} of {total} spike values differ between netx and the simulator; {count} fired", flush=True)
        failed, compared = failed or wrong > 0, compared + total
    sys.exit(int(failed or compared == 0))


if __name__ == "__main__":
    main()
