"""What verification sees of single values, changed by their smallest step, with all hashes made anew."""

import numpy as np
import pytest

from neurodeploy.io.errors import UserError
from neurodeploy_exporters import onnx
from neurodeploy_exporters.bundle import read_bundle
from neurodeploy_exporters.bundle.sample import write_sample
from neurodeploy_exporters.bundle.seal import seal
from neurodeploy_exporters.target import find
from neurodeploy_exporters.verify import verify
from neurodeploy_exporters.verify.mutation import mutation_scores


@pytest.mark.parametrize("target", ["onnx", "residual", "graded"])
def test_every_kind_of_value_of_every_file_is_changed_and_seen(bundles, target):
    before = {path.name: path.read_bytes() for path in bundles[target].iterdir()}
    scores = list(mutation_scores(bundles[target], 30))
    kinds = {(score.file, score.kind) for score in scores}
    body = {"onnx": "body.onnx", "residual": "body.circuit", "graded": "body.net"}[target]
    assert {(body, kind) for kind in ("weight", "threshold", "decay")} <= kinds
    if target != "graded":
        assert {("head.onnx", "weight"), ("head.onnx", "bias"), (body, "bias")} <= kinds
    assert all(score.tried and score.seen == score.by_constants == score.tried and not score.missed for score in scores)
    assert {path.name: path.read_bytes() for path in bundles[target].iterdir()} == before


@pytest.mark.parametrize("target", ["onnx", "lava", "graded"])
def test_a_weight_or_bias_on_the_grid_shows_in_what_the_files_do(bundles, target):
    scores = {(score.file, score.kind): score for score in mutation_scores(bundles[target], 60)}
    body = "body.onnx" if target == "onnx" else "body.net"
    assert scores[body, "weight"].by_running == scores[body, "weight"].tried > 0
    assert scores["encoder.onnx", "bias"].by_running == scores["encoder.onnx", "bias"].tried > 0


def test_a_bit_of_a_head_in_floats_shows_in_its_constants_alone(bundles):
    scores = {(score.file, score.kind): score for score in mutation_scores(bundles["onnx"], 60)}
    head = scores["head.onnx", "weight"]
    assert (head.by_running, head.by_constants, head.seen) == (0, head.tried, head.tried)


def test_what_is_seen_by_running_is_what_verification_finds_without_the_sums_of_constants(bundle):
    folder = bundle("onnx")
    sample = read_bundle(folder).sample()
    sample.constants.clear()
    write_sample(folder / "sample.npz", sample)
    seal(folder)
    read = read_bundle(folder)
    (weights, *_) = (one for one in find("onnx").formats["onnx"].values(read, read.manifest.chain[1]) if one.kind == "weight")
    path, found = folder / "body.onnx", []
    sound = path.read_bytes()
    for place in np.random.default_rng(0).choice(weights.count, 5, replace=False).tolist():
        weights.change(path, place)
        seal(folder)
        found.append(any(" differ" in one for one in verify(folder).findings))
        path.write_bytes(sound)
    seal(folder)
    score = next(one for one in mutation_scores(folder, 40) if (one.file, one.kind) == ("body.onnx", "weight"))
    assert all(found)
    assert score.by_running == score.seen == score.tried
    assert score.by_constants == 0


def test_what_is_missed_is_counted_and_named(graph, digits, tmp_path):
    folder = onnx.export(graph("conv"), digits[0][:4], tmp_path / "floats", name="small")
    sample = read_bundle(folder).sample()
    sample.constants.clear()
    write_sample(folder / "sample.npz", sample)
    seal(folder)
    scores = list(mutation_scores(folder, 8))
    blind = next(one for one in scores if (one.file, one.kind) == ("head.onnx", "weight"))
    assert (blind.seen, blind.by_running, blind.by_constants) == (0, 0, 0)
    assert ", value " in blind.missed
    assert f"0 of {blind.tried} changes seen (0.0 %)" in str(blind)


def test_a_file_that_a_change_stops_from_running_is_seen(bundles, monkeypatch):
    def refuse(*_: object) -> bool:
        raise UserError("body.onnx: cannot be run")

    monkeypatch.setattr("neurodeploy_exporters.verify.mutation._Watch.running_differs", refuse)
    monkeypatch.setattr("neurodeploy_exporters.verify.mutation._Watch.constants_differ", lambda _: False)
    assert all((one.seen, one.by_running) == (one.tried, 0) for one in mutation_scores(bundles["onnx"], 1))


def test_a_bundle_without_values_that_can_be_changed_is_refused(bundle, monkeypatch):
    monkeypatch.setattr("neurodeploy_exporters.verify.mutation._groups", lambda *_: iter(()))
    with pytest.raises(UserError, match="no file found whose values can be changed one by one"):
        list(mutation_scores(bundle("onnx"), 1))
