"""One network in every format and program: what differs is counted, and what is not known says why."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from jsonschema import Draft202012Validator
from torch import nn

import neurodeploy as nd
from neurodeploy.app.benchmark import (
    Benchmark,
    Compared,
    Duration,
    Settings,
    SpikeDifference,
    Unknown,
    benchmark,
    compared,
    measuring,
)
from neurodeploy.app.benchmark.document import as_json
from neurodeploy.app.benchmark.report import as_page, table_of
from neurodeploy.app.model import of_bundle
from neurodeploy.app.schemas import schema_of
from neurodeploy.graph import interpreter
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.bundle import Bundle
from neurodeploy_exporters.onnx.target import OnnxTarget
from neurodeploy_exporters.runtime import Run, Runtime, Variant

QUICK = Settings(targets=("onnx",), seconds=30.0)  # which a busy machine needs
BOUGHT = "a program <b>that</b> was [bought]"


@pytest.fixture(autouse=True)
def _few_rounds(monkeypatch):
    monkeypatch.setattr(measuring, "ROUNDS", 1)


@pytest.fixture(scope="module")
def model() -> nd.Model:
    torch.manual_seed(0)
    ann = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)).eval()
    samples = torch.randint(0, 257, (40, 1, 8, 8)) / 256
    deployed = nd.deploy(nd.spiking(ann, samples, steps=4), samples)
    return replace(deployed, test_labels=deployed.module(samples).argmax(-1))


@pytest.fixture
def asked(model) -> Compared:
    return compared(model, 24)


@pytest.fixture
def one_variant(monkeypatch):
    monkeypatch.setattr(OnnxTarget, "variants", lambda _: (Variant("exact", {"quantize": "exact"}),))


def with_program(monkeypatch, start) -> None:
    """One runtime more for ONNX bundles."""
    known = OnnxTarget.runtimes
    monkeypatch.setattr(OnnxTarget, "runtimes", lambda self, bundle: (known(self, bundle)[0], Runtime(BOUGHT, start)))


def row_of(found: Benchmark, runtime: str):
    return next(row for row in found.rows if row.runtime == runtime)


@pytest.mark.usefixtures("one_variant")
def test_spikes_are_counted_against_the_network_and_answers_against_labels(asked, tmp_path):
    found = benchmark(asked, QUICK, tmp_path)
    itself, ours, reference = (row_of(found, name) for name in ("torch", "ONNX Runtime", "ONNX ReferenceEvaluator"))
    assert itself.accuracy.correct == itself.accuracy.samples == 24
    assert itself.difference == SpikeDifference(0, itself.difference.compared, 24)
    graph = asked.subject.graph
    deployed = OnnxTarget().deployed(graph, OnnxTarget().options({"quantize": "exact"}))
    before, after = (interpreter.spikes(one, interpreter.run(one, asked.inputs)) for one in (graph, deployed))
    wrong = sum(int((before[layer] != after[layer]).sum()) for layer in before)
    assert ours.difference.count == wrong
    assert (reference.difference.count, reference.difference.from_first) == (wrong, 0)
    assert reference.difference.first == "ONNX Runtime"
    assert all(isinstance(ours.durations[size], Duration) and ours.durations[size].ms_per_sample > 0 for size in (1, 64))
    assert ours.size == (tmp_path / "0-onnx" / "whole.onnx").stat().st_size
    assert ours.energy.profiles == ("cmos45-fp32+lemaire",)
    assert isinstance(ours.fit, Unknown)


@pytest.mark.usefixtures("one_variant")
def test_a_program_that_fires_one_other_spike_is_seen(asked, tmp_path, monkeypatch):
    def start(bundle: Bundle, layers: Sequence[str], threads: int) -> Run:
        run, called = OnnxTarget().open(bundle, layers, threads), []

        def other(inputs):
            made = run(inputs)
            if layers and not called:
                called.append(True)
                made[layers[-1]].flat[-1] = 1 - made[layers[-1]].flat[-1]
            return made

        return other

    with_program(monkeypatch, start)
    found = benchmark(asked, QUICK, tmp_path)
    assert row_of(found, BOUGHT).difference.from_first == 1


@pytest.mark.usefixtures("one_variant")
@pytest.mark.parametrize("fault", ["opens", "runs", "shape", "nan"])
def test_a_program_that_fails_has_empty_fields_with_the_reason_and_the_others_go_on(asked, tmp_path, monkeypatch, fault):
    def start(bundle: Bundle, layers: Sequence[str], threads: int) -> Run:
        run = OnnxTarget().open(bundle, layers, threads)
        if fault == "opens":
            raise UserError(f"{bundle.folder}/whole.onnx: no licence")

        def broken(inputs):
            if fault == "runs":
                raise UserError("no licence")
            made = run(inputs)
            cut = {layer: made[layer][:-1] for layer in layers} if fault == "shape" else {}
            return made | cut | ({"logits": made["logits"] * np.nan} if fault == "nan" else {})

        return broken

    with_program(monkeypatch, start)
    found = benchmark(asked, QUICK, tmp_path)
    row = row_of(found, BOUGHT)
    assert (row.opens is True) == (fault != "opens")
    reasons = [row.accuracy, row.difference, *row.durations.values()]
    assert all(isinstance(one, Unknown) for one in reasons)
    words = {"opens": "whole.onnx: no licence", "runs": "no licence", "shape": "another shape", "nan": "not finite"}[fault]
    assert all(words in one.reason and str(tmp_path) not in one.reason for one in reasons)
    assert row_of(found, "ONNX Runtime").accuracy.samples == 24
    whole = json.loads(as_json(found))
    Draft202012Validator(schema_of("benchmark")).validate(whole)
    document = next(one for one in whole["rows"] if one["runtime"] == BOUGHT)
    assert document["accuracy"] is document["spikes"] is document["ms_per_sample_batch_1"] is None
    assert words in document["why"]["accuracy"]


@pytest.mark.usefixtures("one_variant")
def test_tables_and_pages_take_names_for_text(asked, tmp_path, monkeypatch):
    with_program(monkeypatch, OnnxTarget().open)
    named = replace(asked, name="<script>alert(1)</script>")
    found = benchmark(named, QUICK, tmp_path)
    page = as_page(found, {"Model": "<img src=x>"})
    assert "<script>alert" not in page
    assert "<img" not in page
    assert "&lt;b&gt;that&lt;/b&gt;" in page
    table = table_of(found)
    assert all(len(row) == len(table.headings) for row in table.rows)


def test_what_cannot_be_exported_is_a_row_that_says_why(asked, tmp_path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise UserError("node act1: has no form here")

    monkeypatch.setattr(OnnxTarget, "check", refuse)
    found = benchmark(asked, QUICK, tmp_path)
    assert [row.runtime for row in found.rows[1:]] == [""] * len(OnnxTarget().variants())
    assert all(row.opens == Unknown("cannot be exported: node act1: has no form here") for row in found.rows[1:])
    assert all(isinstance(row.size, Unknown) for row in found.rows)


def test_samples_without_labels_have_no_accuracy_but_spikes(model, tmp_path):
    asked = compared(replace(model, test_labels=None), 4)
    found = benchmark(asked, replace(QUICK, options={"quantize": "exact"}), tmp_path)
    row = row_of(found, "ONNX Runtime")
    assert "no labels" in row.accuracy.reason
    assert row.difference.samples == 4


def test_options_choose_among_the_variants_and_unknown_ones_are_refused(asked, tmp_path):
    settings = replace(QUICK, options={"quantize": "exact", "streaming": True}, seconds=0.5)
    found = benchmark(asked, settings, tmp_path)
    assert {row.variant for row in found.rows[1:]} == {"exact"}
    with pytest.raises(UserError, match="no option of onnx"):
        benchmark(asked, replace(QUICK, options={"colour": "red"}), tmp_path / "other")


def test_a_bundle_is_run_as_it_is_against_the_spikes_of_its_sample(model, tmp_path):
    bundle = nd.export(model, "lava", tmp_path / "bundle", samples=6)
    asked = compared(of_bundle(bundle.folder), 200)
    found = benchmark(asked, Settings(seconds=30.0), tmp_path / "work")
    (row,) = found.rows
    assert (asked.samples, row.difference.count, row.difference.samples) == (6, 0, 6)
    assert row.energy.profiles == ("loihi1", "cmos45-fp32+lemaire")
    assert row.fit.verdict == "fits"
    with pytest.raises(UserError, match="run as it was exported"):
        benchmark(asked, Settings(targets=("onnx",)), tmp_path / "work")


def test_a_bundle_on_samples_of_somebody_else_has_nothing_to_compare_with(model, tmp_path):
    bundle = nd.export(model, "onnx", tmp_path / "bundle", samples=4, quantize="exact")
    given = replace(of_bundle(bundle.folder), test_samples=model.test_samples[:8], test_labels=model.test_labels[:8])
    found = benchmark(compared(given, 8, given=True), Settings(seconds=30.0), tmp_path / "work")
    row = row_of(found, "ONNX Runtime")
    assert row.accuracy.samples == 8
    assert "sample alone" in row.difference.reason


def test_where_time_is_short_fewer_samples_are_answered_and_slow_programs_not_timed(asked, tmp_path, monkeypatch):
    import time

    def slow(bundle: Bundle, layers: Sequence[str], threads: int) -> Run:
        run = OnnxTarget().open(bundle, layers, threads)

        def later(inputs):
            time.sleep(0.3)
            return run(inputs)

        return later

    monkeypatch.setattr(OnnxTarget, "variants", lambda _: (Variant("exact", {"quantize": "exact"}),))
    with_program(monkeypatch, slow)
    found = benchmark(asked, replace(QUICK, seconds=0.2), tmp_path)
    row = row_of(found, BOUGHT)
    assert row.accuracy.samples == 16
    assert "--seconds" in row.durations[1].reason
    assert not list(Path(tmp_path).glob("*.part*"))
