"""`neurodeploy energy BUNDLE --simulator sana-fe`: a rung of its own in every format, in no total."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import neurodeploy as nd
from neurodeploy.cli.main import main
from neurodeploy.data import Digits
from neurodeploy_energy.report import read_report
from neurodeploy_exporters.lava.sanafe.program import VARIABLE
from neurodeploy_exporters.simulation import Simulator


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A chain of two convolutions behind the host's, of random weights, as a Lava bundle."""
    torch.manual_seed(1)
    network = nn.Sequential(
        *(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.Conv2d(4, 6, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(24, 10)),
    ).eval()
    samples = Digits().load().train_samples[:24]
    model = nd.deploy(nd.spiking(network, samples, steps=4, reset="hard"), samples)
    nd.export(model, "lava", tmp_path_factory.mktemp("bundle") / "lava")
    return next(tmp_path_factory.getbasetemp().glob("bundle*/lava"))


@pytest.fixture
def energy(monkeypatch, capsys):
    def run(*words):
        monkeypatch.setattr("sys.argv", ["neurodeploy", "energy", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_every_format_has_the_simulation_and_no_total_changes(energy, bundle, stand_in, tmp_path):
    code, out, err = energy(bundle, "--simulator", "sana-fe", "--simulator-python", stand_in(), "--output", tmp_path / "with")
    assert code == 0, err
    assert "architecture simulator: SANA-FE, Intel Loihi 1" in out
    assert "Both fire the same spikes" in " ".join(out.split())
    energy(bundle, "--output", tmp_path / "without")
    made, bare = (json.loads((tmp_path / name / "report.json").read_text()) for name in ("with", "without"))
    (found,) = made.pop("simulated")
    assert bare.pop("simulated") == []
    assert made == bare
    assert (found["samples"], found["stream"]["steps"], found["version"]) == (4, 4, "2.2.0")
    for name in ("report.html", "report.md", "report.tex"):
        text = (tmp_path / "with" / name).read_text()
        assert "SANA-FE" in text
        assert "doi:10.1109/TCAD.2025.3537971" in text
        assert "SANA-FE" not in (tmp_path / "without" / name).read_text()
    again = read_report(tmp_path / "with" / "report.json")
    assert again.simulated[0].spikes == (*(again.simulated[0].spikes[1],) * 2, 0)
    assert "latency" in str(again)


def test_the_front_door_takes_a_simulator_too(bundle, stand_in):
    report = nd.energy(bundle, simulator=Simulator("sana-fe", stand_in()))
    assert [(found.simulator, found.samples, found.spikes[2]) for found in report.simulated] == [("SANA-FE", 4, 0)]
    assert nd.energy(bundle).simulated == ()


def test_its_spikes_and_synaptic_events_are_those_of_the_report(energy, bundle, stand_in):
    """Of all samples of the bundle, which the report counts: neuron by neuron the same, so layer by layer."""
    code, out, err = energy(
        bundle, "--simulator", "sana-fe", "--simulator-python", stand_in(), "--simulator-samples", 99, "--json"
    )
    assert code == 0, err
    report = json.loads(out)
    (found,) = report["simulated"]
    counted = {row["name"]: row["spikes"] * report["samples"] for row in report["layers"]}
    assert found["samples"] == report["samples"]
    assert {layer["layer"]: layer["simulated"] for layer in found["layers"]} == {
        layer["layer"]: round(counted[layer["layer"]]) for layer in found["layers"]
    }
    on_chip = sum(row["sops"] for row in report["layers"] if report["places"].get(row["name"]) == "body")
    assert found["stream"]["synaptic_events"] == pytest.approx(on_chip)


def test_a_net_file_takes_spikes(energy, bundle, stand_in, tmp_path):
    np.save(tmp_path / "spikes.npy", (np.arange(3 * 4 * 4 * 64) % 3 == 0).reshape(3, 4, 4, 8, 8))
    options = ("--input", tmp_path / "spikes.npy", "--simulator", "sana-fe", "--simulator-python", stand_in(), "--json")
    code, out, err = energy(bundle / "body.net", "--input-shape", "4,8,8", *options)
    assert code == 0, err
    (found,) = json.loads(out)["simulated"]
    assert found["layers"][0]["layer"] == "L0_Conv"
    assert all(layer["differing"] == 0 for layer in found["layers"])


def test_without_the_program_one_line_says_how_to_get_it(energy, bundle, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    code, out, err = energy(bundle, "--simulator", "sana-fe")
    assert (code, out) == (2, "")
    assert "error: --simulator sana-fe: SANA-FE runs in an environment of its own" in " ".join(err.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--simulator-samples", "2"), "--simulator-samples: belongs to --simulator"),
        (("--simulator", "nemo"), "'nemo' is not"),
        (("--simulator", "sana-fe", "--simulator-python", "/nowhere/python"), "/nowhere/python: no program found"),
    ],
)
def test_what_cannot_be_asked_for(energy, bundle, words, said):
    code, _, err = energy(bundle, *words)
    assert code == 2
    assert said in " ".join(err.split()).replace("│ ", "")


def test_what_has_no_part_on_a_chip_is_refused(energy, stand_in, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, 4), np.float32))
    simulator = ("--simulator", "sana-fe", "--simulator-python", stand_in())
    code, _, err = energy("torch.nn:Identity", "--input", tmp_path / "x.npy", *simulator)
    assert code == 2
    assert "torch.nn:Identity: --simulator: no bundle or file for a chip; export it first" in " ".join(err.split())


def test_a_bundle_for_another_target_is_refused(energy, stand_in, tmp_path):
    torch.manual_seed(0)
    samples = Digits().load().train_samples[:4]
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 10)).eval()
    nd.export(nd.deploy(nd.spiking(network, samples, steps=2), samples), "nir", tmp_path / "nir")
    code, _, err = energy(tmp_path / "nir", "--simulator", "sana-fe", "--simulator-python", stand_in())
    assert code == 2
    assert "a nir bundle; no simulator of a chip's architecture runs those" in " ".join(err.split())
