"""What a C export takes on a microcontroller: counted, mapped, and as projects for boards."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from neurodeploy.app.schemas import schema_of
from neurodeploy.cli.main import app
from neurodeploy.graph import Graph, ops
from neurodeploy.graph.module import torch_run
from neurodeploy.io.errors import UserError
from neurodeploy_exporters import find
from neurodeploy_exporters.bundle import read_bundle
from neurodeploy_exporters.c import measuring
from neurodeploy_exporters.c.building import program_of
from neurodeploy_exporters.c.deployed import in_integers
from neurodeploy_exporters.c.mapping import CHIPS, map_bundle, microcontroller
from neurodeploy_exporters.c.reading import program_in
from neurodeploy_exporters.c.running import compiler, opened
from neurodeploy_exporters.c.twins import relu_twin
from neurodeploy_exporters.verify import verify

emulated = pytest.mark.skipif(bool(measuring.missing_tools()), reason="make mcu installs what measures")
needs_compiler = pytest.mark.skipif(compiler() is None, reason="no C compiler")


@pytest.fixture(scope="module")
def written(tmp_path_factory, graph, digits):
    return find("c").write(graph("conv", "soft"), digits[0][:3], tmp_path_factory.mktemp("c") / "bundle", name="small")


@emulated
@needs_compiler
def test_a_network_and_its_twins_are_counted_on_an_emulated_microcontroller(written):
    mapping = map_bundle(read_bundle(written), microcontroller("cortex-m4"))
    assert [one.title for one in mapping.placed] == ["the network", "ReLU twin", "int8 twin"]
    assert mapping.verdict == "fits"
    for one in mapping.placed:
        assert one.footprint is not None
        assert len(one.footprint.instructions) == 3
        assert one.footprint.flash > one.tables
        assert one.footprint.context == one.context  # the linker agrees with what was planned
        assert one.footprint.stack > 0


@emulated
@needs_compiler
def test_a_network_too_large_for_a_part_is_refused_with_the_smallest_change_that_would_do(written):
    bundle = read_bundle(written)
    program, _ = program_in(bundle)
    small = replace(microcontroller("cortex-m0"), flash=1000, ram=program.state_bytes - 50)
    mapping = map_bundle(bundle, small, twins=False)
    assert mapping.verdict == "does not fit"
    assert any(fault.startswith("flash: ") for fault in mapping.faults)
    assert any(fault.startswith("RAM: ") and "would fit" in fault for fault in mapping.faults)


def test_a_count_that_the_loop_of_known_length_refutes_is_refused():
    said = "loop 310000\ninstructions 10\nstack 4\n"
    with pytest.raises(UserError, match="a loop of 300,000 instructions was counted as 310,000"):
        measuring._footprint("cortex-m4", said, "", [])


def test_without_the_tools_a_mapping_says_what_is_missing_and_gives_no_verdict_that_it_fits(written, monkeypatch):
    monkeypatch.setattr(measuring, "ARM", "no-such-compiler")
    mapping = map_bundle(read_bundle(written), microcontroller("cortex-m4"), twins=False)
    assert mapping.verdict == "may fit"
    assert mapping.placed[0].footprint is None
    assert re.match(r"no-such-compiler( and qemu-system-arm)? not found; ", mapping.notes[0])


def test_the_relu_twin_has_a_relu_for_every_layer_of_neurons(graph):
    spiking = graph("conv", "soft")
    twin = relu_twin(spiking)
    assert len(twin.of(ops.ReluNode)) == len(spiking.spiking) + len(spiking.of(ops.ReluNode))
    assert not twin.spiking


@needs_compiler
@pytest.mark.parametrize("bits", [None, 7])
def test_a_twin_whose_values_grow_to_thousands_has_biases_on_the_grid_of_its_sums_and_computes_the_same_in_c(bits):
    rng = np.random.default_rng(2)
    shape, members = (4, 6, 6), [ops.InputNode(name="input", shape=(4, 6, 6), timed=False)]
    for number in range(4):
        weight = rng.normal(2, 3, (4, 4, 3, 3)).astype(np.float32)
        bias = rng.normal(0, 1, 4).astype(np.float32)
        conv = ops.ConvNode(
            name=f"conv{number}",
            inputs=(members[-1].name,),
            weight=weight,
            bias=bias,
            stride=(1, 1),
            padding=(1, 1),
            dilation=(1, 1),
        )
        members += [conv, ops.ReluNode(name=f"relu{number}", inputs=(conv.name,))]
    members.append(ops.FlattenNode(name="flat", inputs=(members[-1].name,)))
    graph = Graph([*members, ops.OutputNode(name="logits", inputs=("flat",))])
    x = (rng.integers(0, 257, (5, *shape)) / 256).astype(np.float32)
    made = in_integers(graph, x, 1, activation_bits=bits)
    assert min(node.exponent for node in made.of(ops.QuantizeNode)) < 0
    program = program_of(made, 1)
    with opened(program, program.files, flags=("-O0",)) as run:
        assert np.array_equal(run(x)[1], torch_run(made)(x, ["logits"])["logits"])


@pytest.mark.parametrize("name", CHIPS)
def test_every_part_names_the_source_of_its_numbers(name):
    chip = microcontroller(name)
    assert chip.source
    assert (chip.nanojoules is None) == (not chip.mode)


def test_the_command_refuses_other_bundles_and_boards(written, bundles):
    run = CliRunner().invoke(app, ["map", str(bundles["onnx"]), "--chip", "cortex-m4"])
    assert run.exit_code != 0
    assert "a C bundle expected" in str(run.exception)
    run = CliRunner().invoke(app, ["map", str(written), "--chip", "cortex-m4", "--chips", "2"])
    assert "--chips: 2 found" in str(run.exception)


@emulated
@needs_compiler
def test_the_command_maps_a_c_bundle_to_a_microcontroller(written, tmp_path):
    run = CliRunner().invoke(app, ["map", str(written), "--json", "--output", str(tmp_path)])
    assert run.exit_code == 0, run.output
    document = json.loads(run.output)
    assert document["chip"] == "cortex-m4"
    assert document["verdict"] == "fits"
    assert json.loads((tmp_path / "map.json").read_text()) == document
    Draft202012Validator(schema_of("microcontroller-map")).validate(document)


@pytest.mark.parametrize(("layout", "file"), [("platformio", "platformio.ini"), ("arduino", "sketch.ino")])
def test_a_bundle_may_be_laid_out_for_a_board_and_is_verified_all_the_same(layout, file, tmp_path, graph, digits):
    folder = find("c").write(graph("conv"), digits[0][:2], tmp_path / "sketch", name="small", layout=layout)
    assert (folder / file).is_file()
    if layout == "arduino":
        assert not (folder / "host.c").exists()
        assert '#include "trace.h"' in (folder / "support.h").read_text()
    if compiler() is not None:
        assert verify(folder).passed


def test_an_arduino_sketch_needs_a_folder_with_the_name_of_one(tmp_path, graph, digits):
    with pytest.raises(UserError, match="an Arduino sketch has the name of its folder"):
        find("c").write(graph("conv"), digits[0][:2], tmp_path / "no name", name="small", layout="arduino")
    assert not (tmp_path / "no name").exists()


@needs_compiler
@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
def test_the_fit_of_a_benchmark_names_instructions_flash_and_ram_or_what_is_missing(written):
    fit = find("c").fit(read_bundle(written))
    assert "bytes of flash" in fit.detail
    assert ("instructions" in fit.detail) == (not measuring.missing_tools()) or "not found" in fit.detail
