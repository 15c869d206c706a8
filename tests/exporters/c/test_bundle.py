"""Bundles of C files: written, verified, read back, damaged."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import neurodeploy as nd
from neurodeploy.graph.transforms import differences
from neurodeploy.io.errors import UserError
from neurodeploy_exporters import find
from neurodeploy_exporters.bundle import read_bundle
from neurodeploy_exporters.bundle.seal import seal
from neurodeploy_exporters.c.reading import program_in
from neurodeploy_exporters.c.running import compiler
from neurodeploy_exporters.verify import verify
from neurodeploy_exporters.verify.artefact import read_artefact

needs_compiler = pytest.mark.skipif(compiler() is None, reason="no C compiler")
EMULATED = all(map(shutil.which, ("arm-none-eabi-gcc", "qemu-system-arm", "make")))


@pytest.fixture(scope="module")
def written(tmp_path_factory, graph, digits) -> Path:
    folder = tmp_path_factory.mktemp("c") / "bundle"
    return find("c").write(graph("conv", "soft"), digits[0][:6], folder, name="small")


@pytest.fixture
def copy(written, tmp_path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "bundle"))


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "-s", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=300, check=False
    )


def test_a_bundle_holds_c_files_a_self_test_and_the_network_as_data(written):
    bundle = read_bundle(written)
    assert {"model.h", "body.c", "head.c", "selftest.c", "Makefile", "network.json"} <= set(bundle.manifest.sources)
    assert bundle.manifest.quantization["kind"] == "exact"
    assert bundle.manifest.sample.allowed_mismatched_spikes == 0


@needs_compiler
def test_a_bundle_is_verified_by_the_hosts_compiler_without_a_spike_or_logit_that_differs(written):
    check = verify(written)
    assert check.passed, check.findings
    assert check.mismatches == 0
    assert check.logits_max_difference == 0


def test_the_network_is_read_back_from_the_tables_of_the_c_files(written, graph):
    artefact = read_artefact(written)
    program, _ = program_in(read_bundle(written))
    assert differences(artefact.graph, program.graph) == ()
    exact = find("onnx").deployed(graph("conv", "soft"), find("onnx").options({"quantize": "exact"}))
    for node in exact.nodes:
        if hasattr(node, "weight") and node.name in {one for name in exact.spiking for one in exact.ancestors(name)}:
            assert np.array_equal(artefact.graph[node.name].weight, node.weight)


@needs_compiler
def test_the_self_test_passes_on_the_host_and_leaves_nothing_behind(copy):
    before = sorted(path.name for path in copy.iterdir())
    done = make(copy)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(
        r"self-test: 0 of 18 spike trains of layers and 0 of 60 logits differ, 0 of 2 files have damaged tables, on 6 samples: "
        r"passed\n",
        done.stdout,
    )
    assert sorted(path.name for path in copy.iterdir()) == before


@pytest.mark.skipif(not EMULATED, reason="no arm-none-eabi-gcc or qemu-system-arm (make mcu installs them)")
@pytest.mark.parametrize("core", ["m4", "m7"])
def test_the_self_test_passes_on_an_emulated_microcontroller(copy, core):
    done = make(copy, core)
    assert done.returncode == 0, done.stderr
    assert "0 of 18 spike trains of layers and 0 of 60 logits differ" in done.stdout


def damaged(text: str, table: str) -> str:
    """The text with the largest number of a table changed by a few units."""
    head, _, rest = text.partition(f"{table}[")
    open_, _, body = rest.partition("{\n")
    values, _, after = body.partition("\n};")
    numbers = [int(part) for part in values.replace("\n", " ").split(",") if part.strip()]
    largest = max(range(len(numbers)), key=lambda i: abs(numbers[i]))
    numbers[largest] = -numbers[largest]
    return f"{head}{table}[{open_}{{\n    {', '.join(map(str, numbers))}\n}};{after}"


def tables(folder: Path) -> list[tuple[str, str]]:
    return [
        (file, table)
        for file in ("body.c", "head.c")
        for table in re.findall(r"^static const \w+ (\w+_(?:weight|bias))\[", (folder / file).read_text(), re.MULTILINE)
    ]


@needs_compiler
def test_every_damaged_table_is_caught_by_the_self_test_and_by_verify(written, tmp_path):
    assert len(tables(written)) >= 4
    for number, (file, table) in enumerate(tables(written)):
        folder = Path(shutil.copytree(written, tmp_path / str(number)))
        path = folder / file
        path.write_text(damaged(path.read_text(), table))
        seal(folder)  # so that the replay must notice
        done = make(folder)
        assert done.returncode != 0, table
        assert "FAILED" in done.stdout, table
        assert not verify(folder).passed, table


@needs_compiler
def test_one_unit_more_in_any_table_is_caught_by_the_self_test_whether_or_not_a_spike_depends_on_it(tmp_path, graph, digits):
    rng, seen = np.random.default_rng(4), set[str]()
    folder = find("c").write(graph("resnet", "soft", True), digits[0][:2], tmp_path / "bundle", name="small", kernel="dense")
    for file in ("body.c", "head.c"):
        path = folder / file
        whole = path.read_text()
        for found in re.finditer(r"^static const int\w+ (\w+)\[\d+\] = \{\n([^}]*)\};", whole, re.MULTILINE):
            numbers = [int(part) for part in found[2].replace("\n", " ").split(",") if part.strip()]
            place = int(rng.integers(len(numbers)))
            numbers[place] += 1 if numbers[place] < 127 else -1
            begin, end = found.span(2)
            path.write_text(f"{whole[:begin]}    {', '.join(map(str, numbers))}\n{whole[end:]}")
            done = make(folder, "OPTIMIZE=-O0")
            assert done.returncode != 0, found[1]
            assert "1 of 2 files have damaged tables" in done.stdout, found[1]
            seen.add(found[1])
        path.write_text(whole)
    assert make(folder, "OPTIMIZE=-O0").returncode == 0
    assert len(seen) >= 8


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.update(version=2), "version"),
        (lambda d: d.update(steps=0), "steps"),
        (lambda d: d["nodes"].append({"kind": "Nothing", "name": "x", "inputs": []}), "Nothing"),
        (lambda d: next(iter(d["arrays"].values())).update(table="no_such_table"), "no_such_table"),
        (lambda d: next(iter(d["arrays"].values())).update(split=[3]), "values found"),
        (lambda d: d.pop("constants"), "constants"),
    ],
)
def test_a_damaged_network_file_is_refused_in_one_line_that_says_where(copy, change, said):
    path = copy / "network.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    seal(copy)
    with pytest.raises(UserError, match=said) as refused:
        read_artefact(copy)
    assert "\n" not in str(refused.value)


@needs_compiler
def test_c_that_does_not_compile_is_named_by_file_and_line(copy):
    path = copy / "body.c"
    path.write_text(path.read_text() + "\nthis is no C\n")
    check = verify(copy)
    assert any("body.c" in finding and "error" in finding for finding in check.findings)


def test_without_a_compiler_verify_says_so(written, monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    check = verify(written)
    assert not check.passed
    assert any("no C compiler found" in finding for finding in check.findings)


def test_an_export_without_a_compiler_is_written_and_says_that_it_was_not_run(tmp_path, graph, digits, monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    bundle = read_bundle(find("c").write(graph("conv"), digits[0][:3], tmp_path / "bundle", name="small"))
    assert any("no C compiler at export" in note for note in bundle.manifest.notes)
    assert bundle.manifest.agreement is None


@needs_compiler
def test_a_torch_module_goes_by_way_of_its_spiking_twin_to_a_bundle_that_make_compiles_and_runs(tmp_path):
    torch.manual_seed(0)
    conv = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 3, groups=6), nn.ReLU())
    module = nn.Sequential(conv, nn.AvgPool2d(2), nn.Flatten(), nn.Linear(6 * 9, 5)).eval()
    samples = 3 * torch.rand(6, 2, 8, 8) - 1
    model = nd.deploy(nd.spiking(module, samples, steps=4), samples)
    bundle = nd.export(model, "c", tmp_path / "c")
    assert nd.verify(bundle).passed
    done = make(tmp_path / "c")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("self-test: 0 of 12 spike trains of layers and 0 of 30 logits differ")


def test_names_of_a_network_cannot_leave_their_comments(tmp_path, graph, digits):
    network = graph("conv")
    odd = '*/ #error "x" /* ??/ \\ \n ü'
    first = network.spiking[0]
    from neurodeploy.graph import Graph

    renamed = Graph(
        replace(
            node, name=odd if node.name == first else node.name, inputs=tuple(odd if s == first else s for s in node.inputs)
        )
        for node in network.nodes
    )
    folder = find("c").write(renamed, digits[0][:2], tmp_path / "bundle", name=odd)
    assert all((folder / name).read_bytes().isascii() for name in ("body.c", "model.h", "network.json"))
    if compiler() is not None:
        assert verify(folder).passed
