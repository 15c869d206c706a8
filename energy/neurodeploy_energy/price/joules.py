"""Joules read from the machine's own counters while a model runs: a GPU's by NVML, a CPU's by RAPL. Measured, not estimated.

What the idle machine draws in the same time is subtracted. What else the machine does meanwhile is in the figure.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Protocol

import torch
from torch import Tensor, nn

from neurodeploy_energy.declared import Count, Declared, Number

POWERCAP = Path("/sys/class/powercap")
_T975 = (12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)
_T975_FAR = 2.12
"""Student's t, 97.5 %, for 1 to 15 degrees of freedom and, a little wide, for more."""


class Meter(Protocol):
    """A counter of energy.

    Attributes:
        device: what it measures, for people.
        counter: how, for people.
    """

    device: str
    counter: str

    def joules(self) -> float:
        """Since some moment in the past; never falls."""
        ...


@dataclass(frozen=True)
class Unmeasured(Declared):
    """Why a device's energy was not measured."""

    device: str
    reason: str

    def __str__(self) -> str:
        return f"{self.device}: not measured ({self.reason})"


@dataclass(frozen=True)
class Measurement(Declared):
    """Energy of one device per sample, µJ, beyond what it draws when idle.

    Attributes:
        device, counter: what was measured, and by which counter.
        uj: mean over the repeats.
        half_width: of its 95 % interval (Student's t over the repeats).
        gross_uj: the same without subtracting idle power.
        idle_w: power of the idle device, W.
        repeats: number of measurements.
        seconds: of each.
        samples: that ran in each.
    """

    device: str
    counter: str
    uj: Number
    half_width: Number
    gross_uj: Number
    idle_w: Number
    repeats: int
    seconds: Count
    samples: int

    def __str__(self) -> str:
        return (
            f"{self.device}: measured {self.uj:,.4g} ± {self.half_width:,.2g} µJ per sample above {self.idle_w:.4g} W idle "
            f"({self.counter}, {self.repeats} repeats of {self.seconds:.2g} s)"
        )


def measure(
    run: Callable[[], int],
    meters: Sequence[Meter],
    *,
    repeats: int = 7,
    seconds: float = 1.0,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Measurement]:
    """Run a model again and again, and read the counters before and after; idle power is read before each repeat.

    Args:
        run: one pass; ends when the work has ended (a GPU is waited for); returns the number of samples.
        meters: see `meters`.
        repeats: at least 2.
        seconds: of work, and of idling, in each; counters of some devices move only every 0.1 s.
        clock, sleep: of the machine.

    Returns:
        One for each meter.
    """
    run()  # what happens once only: allocation, compilation
    taken: list[list[tuple[float, float, float, float]]] = [[] for _ in meters]
    total_samples, spans = 0, []
    for _ in range(repeats):
        idle_span, idle = _spent(meters, clock, lambda: sleep(seconds))
        done = [0]

        def work(done: list[int] = done) -> None:
            until = clock() + seconds
            while not done[0] or clock() < until:
                done[0] += run()

        span, busy = _spent(meters, clock, work)
        spans.append(span)
        total_samples += done[0]
        for place in range(len(meters)):
            taken[place].append((busy[place], span, idle[place] / idle_span, done[0]))
    samples = total_samples // repeats
    return [_measurement(meter, repeated, fmean(spans), samples) for meter, repeated in zip(meters, taken, strict=True)]


def _spent(meters: Sequence[Meter], clock: Callable[[], float], work: Callable[[], None]) -> tuple[float, list[float]]:
    """Seconds and joules that something took."""
    before, began = [meter.joules() for meter in meters], clock()
    work()
    ended = clock()
    return ended - began, [meter.joules() - start for meter, start in zip(meters, before, strict=True)]


def _measurement(meter: Meter, taken: Sequence[tuple[float, float, float, float]], seconds: float, samples: int) -> Measurement:
    idle = fmean(watts for _, _, watts, _ in taken)
    gross = [1e6 * joules / count for joules, _, _, count in taken]
    net = [1e6 * (joules - idle * span) / count for joules, span, _, count in taken]
    freedom = len(net) - 1
    half = (_T975[freedom - 1] if freedom <= len(_T975) else _T975_FAR) * stdev(net) / sqrt(len(net))
    return Measurement(meter.device, meter.counter, fmean(net), half, fmean(gross), idle, len(net), seconds, samples)


@dataclass
class Rapl:
    """A CPU package's counter (Linux powercap); it counts microjoules and starts again at its largest value.

    Attributes:
        folder: of the counter: `/sys/class/powercap/intel-rapl:0`.
        device, counter: for people.
    """

    folder: Path
    device: str
    counter: str = "RAPL"

    def __post_init__(self) -> None:
        self._range = int((self.folder / "max_energy_range_uj").read_text())
        self._last, self._sum = self._read(), 0

    def joules(self) -> float:
        now = self._read()
        self._sum += (now - self._last) % self._range
        self._last = now
        return self._sum * 1e-6

    def _read(self) -> int:
        return int((self.folder / "energy_uj").read_text())


class Nvml:
    """A GPU's counter of its whole board, by NVML (Volta and later).

    Args:
        uuid: of the GPU, as torch names it; NVML also counts GPUs that torch may not see. The first one if None.

    Raises:
        ImportError: nvidia-ml-py is not installed.
        RuntimeError: there is no driver, no such GPU, or it has no such counter.
    """

    def __init__(self, uuid: str | None = None) -> None:
        import pynvml

        self._nvml = pynvml
        try:
            pynvml.nvmlInit()
            by_number, by_uuid = pynvml.nvmlDeviceGetHandleByIndex, pynvml.nvmlDeviceGetHandleByUUID
            self._handle = by_number(0) if uuid is None else by_uuid(f"GPU-{uuid}")
            name = pynvml.nvmlDeviceGetName(self._handle)
            pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)
        except pynvml.NVMLError as error:
            raise RuntimeError(str(error)) from None
        self.device = name.decode() if isinstance(name, bytes) else str(name)
        self.counter = "NVML"

    def joules(self) -> float:
        return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) * 1e-3


def meters(kind: str, *, uuid: str | None = None, powercap: Path = POWERCAP) -> tuple[list[Meter], list[Unmeasured]]:
    """The counters of this machine for the device that a model runs on, and why others cannot be read.

    Args:
        kind: "cpu" or "cuda", as torch names it.
        uuid: of the GPU.
        powercap: where Linux keeps the counters of CPUs.
    """
    readable: list[Meter] = []
    missing: list[Unmeasured] = []
    if kind == "cuda":
        try:
            readable.append(Nvml(uuid))
        except ImportError:
            missing.append(Unmeasured("GPU", 'nvidia-ml-py is not installed; pip install "neurodeploy[measure]"'))
        except RuntimeError as error:
            missing.append(Unmeasured("GPU", f"NVML: {error}"))
    packages = sorted(path for path in powercap.glob("intel-rapl:*") if path.name.count(":") == 1)
    for path in packages:
        try:
            readable.append(Rapl(path, f"CPU {(path / 'name').read_text().strip()}"))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            missing.append(Unmeasured("CPU", f"RAPL: {path / 'energy_uj'}: {reason}"))
    if not packages:
        missing.append(Unmeasured("CPU", f"RAPL: no counter under {powercap}"))
    return readable, missing


def measured_on(
    model: nn.Module, samples: Tensor, device: torch.device, *, repeats: int = 7, seconds: float = 1.0
) -> tuple[Measurement | Unmeasured, ...]:
    """Energy of a model's forward pass per sample, by every counter that can be read, and why others cannot.

    Args:
        model: in evaluation mode; moved to the device for the measurement, and back to where it was.
        samples: one batch; a larger one keeps a GPU busier.
        device: where it runs.
        repeats, seconds: see `measure`.
    """
    uuid = str(torch.cuda.get_device_properties(device).uuid) if device.type == "cuda" else None
    readable, missing = meters(device.type, uuid=uuid)
    if not readable:
        return tuple(missing)
    home = next((parameter.device for parameter in model.parameters()), device)
    was_training = model.training
    model.to(device).eval()
    x = samples.to(device)

    def run() -> int:
        with torch.no_grad():
            model(x)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return len(x)

    try:
        return (*measure(run, readable, repeats=repeats, seconds=seconds), *missing)
    finally:
        model.to(home).train(was_training)
