"""In which of its equal forms a network is written: NIR leaves several, and each reader understands some of them.

`τ v̇ = −v + R I` with the threshold θ is the same neuron as with R = 1 and the threshold θ dt/τ, in another unit of the
potential. Most readers add their input to the potential as it is, whatever R says, and so need R = τ/dt; Norse takes R for 1.
An average is a pool or a convolution with equal weights; "above a half" is a threshold, or a neuron that forgets at once.
"""

from dataclasses import dataclass
from typing import Literal

from neurodeploy.io.errors import UserError

DT = 1e-4  # seconds; what SpikingJelly, snnTorch and snn2mcu assume


@dataclass(frozen=True)
class Dialect:
    """One way to write.

    Attributes:
        name: of it.
        readers: for whom it is.
        dt: one time step in the unit of its time constants.
        resistance: of LIF and LI neurons: "tau/dt" makes the gain of the input 1 and leaves θ as it is; "1" is the other form,
            of LIF alone.
        integrating: R of neurons without a leak: "1/dt" is the gain 1 in NIR's equation; "1" for readers without a dt there.
        exponential: the reader decays by exp(−dt/τ); else by 1 − dt/τ.
        average: what an average over two axes is written as.
        total: likewise a sum; "unpadded" for readers that know SumPool2d, but not its padding.
        above: what "above a threshold" without a neuron is written as.
        forgetting: decay of the neuron that stands for "above a threshold"; its potential is 0 after every step anyway.
        inclusive: the reader fires at v ≥ θ; so the next larger float32 is written, which says v > θ.
        single: the constants of a layer of equal neurons are one number each.
        terminals: the Input is called `input`, the Output `output`, as `NIRGraph.from_list` does it; else after tensors.
    """

    name: str
    readers: str
    dt: float = DT
    resistance: Literal["tau/dt", "1"] = "tau/dt"
    integrating: Literal["1/dt", "1"] = "1/dt"
    exponential: bool = False
    average: Literal["AvgPool2d", "Conv2d"] = "AvgPool2d"
    total: Literal["SumPool2d", "unpadded", "Conv2d"] = "SumPool2d"
    above: Literal["LIF", "Threshold"] = "LIF"
    forgetting: float = 0.0
    inclusive: bool = False
    single: bool = False
    terminals: bool = True


DIALECTS: dict[str, Dialect] = {
    one.name: one
    for one in (
        Dialect("nir", "NIR's equations by Euler's method: snnTorch, SpikingJelly, snn2mcu and most others"),
        Dialect("norse", "Norse", resistance="1", average="Conv2d", total="unpadded"),
        Dialect(
            "spikingjelly", "SpikingJelly, which fires at the threshold too", total="Conv2d", forgetting=0.5, inclusive=True
        ),
        Dialect("snn-mlir", "snn-mlir", integrating="1"),
        Dialect("spyx", "spyx", dt=1.0, average="Conv2d", total="unpadded"),
        Dialect("nir2fpga", "NIR2FPGA, which counts time in steps", dt=1.0),
        Dialect(
            "sinabs",
            "sinabs, which counts time in steps",
            dt=1.0,
            resistance="1",
            integrating="1",
            exponential=True,
            average="Conv2d",
            total="unpadded",
            inclusive=True,
            single=True,
        ),
    )
}

FIRST = Dialect("1", "files of neurodeploy up to 0.1", resistance="1", above="Threshold", terminals=False)
"""What was written before there were dialects; to read such files."""


def dialect_named(name: str) -> Dialect:
    """A dialect.

    Raises:
        UserError: there is none of that name.
    """
    if name not in DIALECTS:
        raise UserError(f"dialect {name!r}: not known; there are: {', '.join(DIALECTS)}")
    return DIALECTS[name]
