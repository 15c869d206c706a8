"""`neurodeploy map`: what people read (golden file), exit codes, and what it refuses."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from neurodeploy.app.schemas import schema_of
from neurodeploy_exporters.lava.circuit import INPUT, Circuit, Convolution, Matrix, Population, Synapse
from neurodeploy_exporters.lava.circuitfile import write_circuit
from neurodeploy_exporters.lava.layers import CubaConstants

GOLDEN = Path(__file__).parent / "golden"
PNG = b"\x89PNG\r\n\x1a\n"


def matches_golden(name, text):
    """Set NEURODEPLOY_WRITE_GOLDEN=1 to renew the files after a change that was meant."""
    if os.environ.get("NEURODEPLOY_WRITE_GOLDEN"):
        (GOLDEN / name).write_text(text, encoding="utf-8")
    assert text == (GOLDEN / name).read_text("utf-8")


def residual(width):
    """Two convolutions, a shortcut past the second, and a matrix; the widest one with `width` channels."""
    generator = np.random.default_rng(0)

    def convolution(outputs, inputs, size, groups=1):
        weight = 2 * generator.integers(-60, 61, (outputs, inputs // groups, size, size))
        return Convolution(weight=weight, padding=(size // 2, size // 2), groups=groups)

    shapes = {"conv1": (width, 12, 12), "conv2": (width, 12, 12), "sum": (width, 12, 12), "dense": (10,)}
    neuron = CubaConstants(4096, 400, 300)
    synapses = (
        Synapse(source=INPUT, target=0, connection=convolution(width, 3, 3)),
        Synapse(source=0, target=1, connection=convolution(width, width, 3)),
        Synapse(source=1, target=2, connection=convolution(width, width, 3)),
        Synapse(source=0, target=2, connection=convolution(width, width, 1, groups=width), delay=1),
        Synapse(source=2, target=3, connection=Matrix(weight=2 * generator.integers(-60, 61, (10, width * 144)))),
    )
    populations = tuple(Population(key=key, shape=shape, neuron=neuron) for key, shape in shapes.items())
    return Circuit(input_shape=(3, 12, 12), populations=populations, synapses=synapses)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where circuits lie under names that do not change."""
    monkeypatch.chdir(tmp_path)
    write_circuit(residual(16), tmp_path / "residual.circuit")
    write_circuit(residual(460), tmp_path / "wide.circuit")
    return tmp_path


@pytest.mark.parametrize("chip", ["loihi1", "loihi2"])
def test_what_is_printed_reads_as_the_golden_file(cli, folder, chip):
    outcome = cli("map", "residual.circuit", "--chip", chip, "--output", "found")
    assert outcome.code == 0
    matches_golden(f"map_{chip}.txt", outcome.out)
    assert (folder / "found" / "map.png").read_bytes().startswith(PNG)
    document = json.loads((folder / "found" / "map.json").read_text())
    assert document["source"] == "residual.circuit"
    Draft202012Validator(schema_of("chip-map")).validate(document)
    assert json.loads(cli("map", "residual.circuit", "--chip", chip, "--json").out) == document


@pytest.mark.usefixtures("folder")
def test_what_does_not_fit_is_one_clear_statement_and_exit_code_1(cli):
    outcome = cli("map", "wide.circuit")
    assert outcome.code == 1
    matches_golden("map_unfit.txt", outcome.out + outcome.err)
    assert outcome.err.count("\n") == 1
    short = cli("map", "residual.circuit", "--chips", 0)
    assert short.code == 2


def test_a_bundle_is_mapped_as_the_file_in_it(cli, finished):
    bundle = finished / "seed-0" / "bundles" / "lava"
    found = [json.loads(cli("map", path, "--json").out) for path in (bundle, bundle / "body.net")]
    assert found[0].pop("source") != found[1].pop("source")
    assert found[0] == found[1]
    assert found[0]["fits"]


def test_what_is_no_network_for_loihi_is_refused_with_exit_code_2(cli, tmp_path, finished):
    bundles = finished / "seed-0" / "bundles"
    (tmp_path / "broken.net").write_bytes((bundles / "lava" / "body.net").read_bytes()[:1000])
    (tmp_path / "text.txt").write_text("nothing")
    for path, message in (
        (bundles / "onnx", "a bundle for onnx found; one for Loihi expected (--target lava)"),
        (tmp_path, "no manifest.json found"),
        (tmp_path / "broken.net", "broken.net"),
        (tmp_path / "absent.net", "absent.net"),
        (tmp_path / "absent.circuit", "absent.circuit"),
        (tmp_path / "text.txt", "a file that ends in .net or .circuit, expected"),
    ):
        outcome = cli("map", path)
        assert outcome.code == 2
        assert message in outcome.err
        assert outcome.err.count("\n") == 1
    assert cli("map", bundles / "lava", "--chip", "loihi3").code == 2
