"""Rockpool's side; run in its environment by `checks.nir_frameworks`."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rockpool.nn.modules.torch.nir import from_nir

import nir
from checks.nir.exchange import serve


def run(path: Path, inputs: NDArray[np.float32]) -> NDArray[Any]:
    """A sequence at once, the batch first."""
    net = from_nir(nir.read(path))
    with torch.no_grad():
        answer = net(torch.from_numpy(inputs.astype(np.float32)).transpose(0, 1))
    answer = answer[0] if isinstance(answer, tuple) else answer
    return answer.transpose(0, 1).numpy()


if __name__ == "__main__":
    serve(run, {})
