"""Joules from counters: idle power subtracted, repeats with an interval, counters that start again, or plain words why not."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from neurodeploy_energy import LayerRow, Report
from neurodeploy_energy.price.joules import Measurement, Nvml, Rapl, Unmeasured, measure, measured_on, meters
from neurodeploy_energy.price.profiles import load
from neurodeploy_energy.report import as_json, as_markdown, as_page, read_report

IDLE, BUSY = 50.0, 130.0


class Machine:
    """A clock that moves when work is done or waited for, and a counter that rises with the power of either."""

    device, counter = "fake GPU", "fake"

    def __init__(self, noise=()):
        self.now, self.energy, self.noise = 0.0, 0.0, list(noise)

    def clock(self):
        return self.now

    def joules(self):
        return self.energy

    def sleep(self, seconds):
        self.now += seconds
        self.energy += IDLE * seconds

    def run(self):
        extra = self.noise.pop() if self.noise else 0.0
        self.now += 0.1
        self.energy += (BUSY + extra) * 0.1
        return 20


def test_what_the_idle_machine_draws_is_subtracted():
    machine = Machine()
    (found,) = measure(machine.run, [machine], repeats=5, seconds=0.95, clock=machine.clock, sleep=machine.sleep)
    assert found.uj == pytest.approx(1e6 * (BUSY - IDLE) * 0.1 / 20)
    assert found.gross_uj == pytest.approx(1e6 * BUSY * 0.1 / 20)
    assert found.idle_w == pytest.approx(IDLE)
    assert found.half_width == pytest.approx(0, abs=1e-6)
    assert (found.repeats, found.samples) == (5, 200)
    assert found.seconds == pytest.approx(1.0)
    assert "measured 4e+05 ± " in str(found)


def test_the_interval_is_students_t_over_the_repeats():
    machine = Machine(noise=[0, 10, -10, 30])  # taken from the end: the first pass warms up
    (found,) = measure(machine.run, [machine], repeats=3, seconds=0.05, clock=machine.clock, sleep=machine.sleep)
    each = [1e6 * (BUSY - IDLE + extra) * 0.1 / 20 for extra in (-10, 10, 0)]
    spread = torch.tensor(each, dtype=torch.float64).std().item()
    assert found.uj == pytest.approx(sum(each) / 3)
    assert found.half_width == pytest.approx(4.303 * spread / 3**0.5)


def test_with_many_repeats_the_interval_is_never_too_narrow():
    machine = Machine(noise=[5, -5] * 20)
    (found,) = measure(machine.run, [machine], repeats=20, seconds=0.05, clock=machine.clock, sleep=machine.sleep)
    assert found.half_width > 0


def powercap(folder, *, energy="1000000", name="package-0", top="3000000"):
    path = folder / "intel-rapl:0"
    path.mkdir(parents=True)
    (folder / "intel-rapl:0:0").mkdir()  # a part of the package, which counts it already
    (path / "name").write_text(name + "\n")
    (path / "max_energy_range_uj").write_text(top + "\n")
    (path / "energy_uj").write_text(energy + "\n")
    return path


def test_a_cpus_counter_that_starts_again_goes_on(tmp_path):
    path = powercap(tmp_path)
    meter = Rapl(path, "CPU package-0")
    assert meter.joules() == 0
    for reading, joules in (("2500000", 1.5), ("500000", 2.5), ("900000", 2.9)):
        (path / "energy_uj").write_text(reading)
        assert meter.joules() == pytest.approx(joules)


def test_the_counters_of_a_machine_are_found(tmp_path):
    powercap(tmp_path)
    found, missing = meters("cpu", powercap=tmp_path)
    assert [(meter.device, meter.counter) for meter in found] == [("CPU package-0", "RAPL")]
    assert missing == []


@pytest.mark.parametrize(("energy", "reason"), [("no number", "invalid literal"), (None, "No such file")])
def test_a_counter_that_cannot_be_read_is_named_with_the_reason(tmp_path, energy, reason):
    path = powercap(tmp_path, energy=energy or "1")
    if energy is None:
        (path / "energy_uj").unlink()
    found, (missing,) = meters("cpu", powercap=tmp_path)
    assert found == []
    assert str(missing).startswith(f"CPU: not measured (RAPL: {path / 'energy_uj'}: {reason}")


def test_a_machine_without_counters_says_so(tmp_path):
    found, missing = meters("cpu", powercap=tmp_path)
    assert (found, missing) == ([], [Unmeasured("CPU", f"RAPL: no counter under {tmp_path}")])


class FakeError(Exception):
    pass


def fake_pynvml(*, supported=True):
    readings = iter(range(1_000, 10**9, 500))

    def total(_handle):
        if not supported:
            raise FakeError("Not Supported")
        return next(readings)

    return SimpleNamespace(
        NVMLError=FakeError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetName=lambda handle: f"Fake {handle}",
        nvmlDeviceGetTotalEnergyConsumption=total,
    )


def test_a_gpus_counter_is_in_millijoules(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", fake_pynvml())
    meter = Nvml()
    assert (meter.device, meter.counter) == ("Fake 0", "NVML")
    assert Nvml("12-ab").device == "Fake GPU-12-ab"
    before = meter.joules()
    assert meter.joules() - before == pytest.approx(0.5)


def test_a_gpu_without_a_counter_or_its_package_is_named_with_the_reason(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pynvml", fake_pynvml(supported=False))
    assert Unmeasured("GPU", "NVML: Not Supported") in meters("cuda", powercap=tmp_path)[1]
    monkeypatch.setitem(sys.modules, "pynvml", None)
    (gpu, _) = meters("cuda", powercap=tmp_path)[1]
    assert "neurodeploy[measure]" in gpu.reason


def test_a_model_is_measured_where_it_runs_and_left_as_it_was(monkeypatch):
    machine = Machine()
    monkeypatch.setattr(
        "neurodeploy_energy.price.joules.meters", lambda _kind, **_options: ([machine], [Unmeasured("GPU", "none")])
    )
    model = nn.Sequential(nn.Linear(3, 2), nn.Dropout())
    seen = []

    def watched(module, _inputs, _output):
        seen.append(module.training)
        machine.energy += 1

    model.register_forward_hook(watched)
    one, other = measured_on(model.train(), torch.zeros(4, 3), torch.device("cpu"), repeats=2, seconds=0.01)
    assert isinstance(one, Measurement)
    assert one.uj > 0
    assert other == Unmeasured("GPU", "none")
    assert model.training
    assert set(seen) == {False}


def test_without_counters_nothing_is_run(monkeypatch):
    monkeypatch.setattr("neurodeploy_energy.price.joules.meters", lambda _kind, **_options: ([], [Unmeasured("CPU", "none")]))
    assert measured_on(nn.Identity(), torch.zeros(1), torch.device("cpu")) == (Unmeasured("CPU", "none"),)


def test_measured_joules_stand_apart_from_estimates_in_every_format(tmp_path):
    row = LayerRow("l", "synapse", steps=1, sops=100, dense_macs=10)
    report = Report("m", 1, 1, (row,), {}, (load("cmos45-fp32"),))
    machine = Machine()
    measured = measure(machine.run, [machine], repeats=2, seconds=0.2, clock=machine.clock, sleep=machine.sleep)
    report = replace(report, measured=(*measured, Unmeasured("CPU", "no counter")))
    for text in (as_markdown(report, title="t"), as_page(report, title="t", facts={}, notices=())):
        assert "measured µJ" in text
        assert "CPU: not measured (no counter)." in text
        assert "Measured energy per sample" in text
    path = tmp_path / "report.json"
    path.write_text(as_json(report))
    assert read_report(path).measured == report.measured
    assert report.energy("cmos45-fp32").total_uj == pytest.approx(9e-5)
