"""The benchmark of the ONNX export, on a small network."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import onnx as benchmark
from benchmarks.eager import Eager
from benchmarks.results import ExportResult
from checks import exact_onnx
from neurodeploy.graph import Graph, ops
from neurodeploy.graph.module import GraphModule
from neurodeploy.networks import ResNetSpec, VggSpec

SMALL = {
    "vgg": VggSpec(layers=(4, "A", 6, "A"), hidden=(8,), form="batch-norm"),
    "resnet": ResNetSpec(channels=(4, 6), blocks=(1, 1)),
}
KEPT = sorted((Path(benchmark.__file__).parent / "results" / "onnx").glob("*.json"))


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(benchmark, "NETWORKS", SMALL)
    monkeypatch.setattr(exact_onnx, "NETWORKS", SMALL)


def test_a_run_compares_times_and_keeps_its_numbers(monkeypatch, capsys, tmp_path):
    options = ["--networks", "vgg", "--steps", "1", "3", "--batch", "1", "2", "--rounds", "1", "--output"]
    monkeypatch.setattr(sys, "argv", ["onnx", *options, str(tmp_path / "found.json")])
    threads = torch.get_num_threads()
    benchmark.main()
    torch.set_num_threads(threads)
    result = ExportResult.model_validate_json((tmp_path / "found.json").read_text())
    assert all(each.different == 0 < each.spikes for each in result.agreement)
    subjects = {each.subject for each in result.timings if (each.batch, each.steps) == (2, 3)}
    assert {benchmark.OURS, benchmark.UNROLLED, "torch, folded", "torch, step by step", benchmark.PACKAGE} < subjects
    ours, *unrolled = result.artefacts
    assert ours.subject == benchmark.OURS
    assert ours.session_s is not None
    assert [each.steps for each in unrolled] == [1, 3]
    assert unrolled[0].operators < unrolled[1].operators
    told = capsys.readouterr().out
    assert "0 of" in told
    assert "better torch layout / ours" in told


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("layout", benchmark.LAYOUTS)
def test_both_layouts_of_plain_torch_compute_the_network(name, layout):
    graph = benchmark.network(name)
    steps = graph.of(ops.EncodeNode)[0].steps
    x = torch.randint(0, 257, (2, 3, 32, 32)) / 256
    with torch.no_grad():
        *spikes, logits = Eager(graph, steps, layout, graph.spiking)(x)
        torch.testing.assert_close(logits, GraphModule(graph)(x))
    assert all(0 < each.mean() < 1 for each in spikes)


def test_the_check_of_exact_exports_compares_every_value_whole_and_in_chunks():
    images = torch.randint(0, 257, (3, 3, 32, 32)) / 256
    graph = exact_onnx.network("resnet", "soft", images)
    found = exact_onnx.compare(graph, images, 5, [1, 2])
    each = 5 * 3 * sum(int(np.prod(graph.shape(layer))) for layer in graph.spiking)
    assert {way: counts[:2] for way, counts in found.items()} == dict.fromkeys(
        ("whole", "chunks of 1", "chunks of 2"), (0, each)
    )


def test_the_check_of_exact_exports_tells_a_difference(monkeypatch):
    images = torch.randint(0, 257, (3, 3, 32, 32)) / 256
    graph = exact_onnx.network("vgg", "hard", images)
    other = exact_onnx.network("vgg", "soft", images)
    monkeypatch.setattr(exact_onnx, "by_torch", lambda _graph, *rest, real=exact_onnx.by_torch: real(other, *rest))
    assert exact_onnx.compare(graph, images, 5, [])["whole"][0] > 0


def test_the_same_graph_runs_with_other_steps():
    graph = benchmark._with_steps(benchmark.network("vgg"), 7)
    assert isinstance(graph, Graph)
    assert graph.steps == 7


@pytest.mark.skipif(not KEPT, reason="no result has been kept")
@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.name)
def test_kept_results_can_be_read_and_told(path):
    assert "spikes and silences differ" in benchmark.text(ExportResult.model_validate_json(path.read_text()))
