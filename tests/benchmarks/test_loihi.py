"""The benchmark of the Loihi simulator. To renew the golden file: write what the test prints to it."""

import json
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from benchmarks import loihi
from benchmarks.recordings import recorded_time, recording
from benchmarks.results import (
    Machine,
    RecordedLava,
    SimulationMemory,
    SimulationResult,
    SimulationTiming,
    StatesAgreement,
)
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava import write
from neurodeploy_exporters.lava.layers import CubaConstants, DenseLayer
from neurodeploy_exporters.lava.network import Network
from neurodeploy_exporters.lava.simulate import simulate

GOLDEN = Path(__file__).parent / "golden" / "loihi.txt"
RESULTS = sorted((Path(__file__).parents[2] / "benchmarks" / "results" / "loihi").glob("*.json"))
NAME = "g06_decays_threshold"


@pytest.fixture
def folder(tmp_path) -> Path:
    """Recordings as those of Lava are laid out, of a small network; the states are ours."""
    network = Network((DenseLayer(shape=(3,), weight=2 * np.arange(-3, 3).reshape(3, 2), neuron=CubaConstants(9, 99, 1)),))
    inputs = np.random.default_rng(0).integers(0, 2, (5, 1, 2))
    (tmp_path / NAME).mkdir()
    write(network, tmp_path / NAME / "network.net")
    np.savez(tmp_path / NAME / "input.npz", input=inputs[:, 0].T)
    states = simulate(network, inputs, 5)
    np.savez(tmp_path / NAME / "expected.npz", **{key: values[:, 0].T for key, values in states.items()})
    case = {"steps": 5, "mode": "spikes", "reset_interval": None, "reset_offset": 0, "input_message_bits": 0, "skips": []}
    (tmp_path / NAME / "case.json").write_text(json.dumps(case))
    timing = {
        "machine": {"cpus": 2, "model": ["Some CPU"], "load": "none"},
        "results": [{"case": NAME, "what": "one block", "steps": 5, "lava": {"second_run_s": s}} for s in (0.09, 0.08)],
        "earlier_series": {"second_run_s_median": {"g06": 0.07}},
    }
    (tmp_path / "lava_timing.json").write_text(json.dumps(timing))
    return tmp_path


def run(monkeypatch, folder, *options: object) -> None:
    output = ["--output", folder / "result.json"]
    arguments = ["loihi", "--recordings", folder, "--cases", "g06", "--no-lava", *output, *options]
    monkeypatch.setattr(sys, "argv", [str(argument) for argument in arguments])
    loihi.main()


def test_a_run_compares_times_and_keeps_its_numbers(monkeypatch, capsys, folder):
    run(monkeypatch, folder, "--batch", 1, 3, "--threads", 1, "--rounds", 2)
    result = SimulationResult.model_validate_json((folder / "result.json").read_text())
    assert [(t.subject, t.batch, t.rounds) for t in result.timings] == [("neurodeploy", 1, 2), ("neurodeploy", 3, 2)]
    assert all(0 < t.fastest_s <= t.median_s and t.cpu_s is not None for t in result.timings)
    assert result.agreement == [StatesAgreement(case=NAME, compared=3 * 5 * 3, different=0)]
    assert [each.batch for each in result.memory] == [1, 3]
    assert "0 of 45 recorded states differ" in capsys.readouterr().out


def test_states_that_differ_end_the_run_with_an_error(monkeypatch, folder):
    with np.load(folder / NAME / "expected.npz") as file:
        changed = dict(file)
    changed["L0_Dense_v"][0, 0] += 1
    np.savez(folder / NAME / "expected.npz", **changed)
    with pytest.raises(SystemExit, match="error: states differ"):
        run(monkeypatch, folder, "--batch", 1, "--threads", 1, "--rounds", 1, "--no-memory")


def test_the_shortest_recorded_time_counts(folder):
    assert recorded_time(folder, NAME) == RecordedLava(
        case=NAME, what="one block", steps=5, seconds=0.07, machine="Some CPU, 2 cores", load="none"
    )


def test_a_batch_begins_with_the_recorded_sample_and_goes_on_with_others(folder):
    batch = recording(folder, NAME).batch(2)
    np.testing.assert_array_equal(batch[:, 0], recording(folder, NAME).inputs[:, 0])
    assert (batch[:, 0] != batch[:, 1]).any()


def test_missing_recordings_and_times_are_named(monkeypatch, folder):
    with pytest.raises(UserError, match=r"no recorded run g01\*"):
        recording(folder, "g01")
    with pytest.raises(UserError, match=r"lava_timing.json: no time of g01 found"):
        recorded_time(folder, "g01")
    (folder / "lava_timing.json").unlink()
    with pytest.raises(SystemExit, match=r"error: .*lava_timing\.json: cannot be read"):
        run(monkeypatch, folder)


def test_the_report_shows_both_sides_and_the_load():
    timing = {"case": "net", "threads": 2, "rounds": 7}
    result = SimulationResult(
        day=date(2026, 1, 2),
        machine=Machine(
            cpu="Some CPU",
            cores=2,
            memory_gib=8,
            device="cpu",
            allocator="default",
            torch="2.13.0",
            python="3.11.7",
            load_before=0.1,
            load_after=3.25,
        ),
        versions={},
        recorded=[RecordedLava(case="net", what="4 blocks", steps=24, seconds=1.7, machine="Other CPU, 2 cores", load="busy")],
        agreement=[StatesAgreement(case="net", compared=123456, different=0)],
        timings=[
            SimulationTiming(subject="neurodeploy", batch=1, median_s=0.02, fastest_s=0.019, cpu_s=0.018, **timing),
            SimulationTiming(subject="neurodeploy", batch=32, median_s=0.256, fastest_s=0.25, cpu_s=0.48, **timing),
            SimulationTiming(subject="lava", batch=1, median_s=2.04, fastest_s=2, cpu_s=None, **timing),
        ],
        memory=[SimulationMemory(case="net", batch=32, threads=2, peak_bytes=150 << 20, method="x")],
    )
    print(loihi.text(result))
    assert loihi.text(result) == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_kept_results_are_of_the_schema_and_compare_equal_states(path):
    result = SimulationResult.model_validate_json(path.read_text(encoding="utf-8"))
    assert all(each.compared and not each.different for each in result.agreement)
    assert loihi.text(result)
