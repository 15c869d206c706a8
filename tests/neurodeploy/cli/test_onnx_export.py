"""Exporting to ONNX on the command line: streaming, counts, integers, and networks whose spikes a host makes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from neurodeploy.app.deployment import deploy
from neurodeploy.app.run import run
from neurodeploy.recipe import load
from neurodeploy.training import checkpoint
from neurodeploy.training.evaluation import evaluate
from neurodeploy_exporters.bundle import read_bundle
from neurodeploy_exporters.onnx import Session
from neurodeploy_exporters.verify import verify


def test_a_streaming_bundle_in_integers_says_how_it_differs_and_is_verified(cli, tmp_path, student):
    flags = ("--streaming", "--spike-counts", "--quantize", "int8", "--samples", 8)
    outcome = cli("export", student, "--target", "onnx", "--output", tmp_path, *flags)
    assert outcome.code == 0, outcome.err
    manifest = read_bundle(tmp_path / "onnx").manifest
    assert (manifest.streaming, manifest.spike_counts, manifest.quantization["kind"]) == (True, True, "int8")
    agreement = manifest.agreement
    assert (
        f"{agreement.mismatched_spikes:,} of {agreement.spikes_compared:,} spikes of 8 samples "
        f"({100 * agreement.mismatch_rate:.2g} %) differ from the float network's; "
        f"{agreement.changed_answers:,} of 500 test samples"
    ) in outcome.out
    assert set(manifest.accuracy) == {"float", "exported"}
    checked = cli("verify", tmp_path / "onnx")
    assert checked.code == 0, checked.err


def test_a_float_bundle_says_how_many_spikes_differ_from_the_interpreters(cli, tmp_path, student):
    outcome = cli("export", student, "--target", "onnx", "--output", tmp_path)
    assert "spikes of 16 samples" in outcome.out
    assert "differ from the reference interpreter's" in outcome.out
    assert "another answer" not in outcome.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--target", "lava", "--streaming"), "streaming: no option of lava; add the target onnx"),
        (("--target", "lava", "--spike-counts"), "spike-counts: no option of lava; add the target onnx"),
        (
            ("--target", "onnx", "--target", "lava", "--quantize", "int8"),
            "quantize: 'int8' found, \"int8\" is for the target onnx; lava has 8-bit weights always",
        ),
        (("--target", "onnx", "--quantize", "int8", "--calibration", 0), "int8: no calibration inputs found"),
    ],
)
def test_what_a_target_cannot_do_is_refused_in_one_line_and_nothing_is_written(cli, tmp_path, student, arguments, message):
    outcome = cli("export", student, "--output", tmp_path, *arguments)
    assert outcome.code == 2
    assert outcome.err.startswith(f"error: {message}")
    assert outcome.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_way_to_quantise_is_refused(cli, tmp_path, student):
    outcome = cli("export", student, "--output", tmp_path, "--target", "onnx", "--quantize", "int4")
    assert outcome.code == 2
    assert "'int4' is not one of" in outcome.err


def coded_run(code: str, export: str, recipe_file: Path, folder: Path) -> Path:
    """A finished run of a recipe whose students make spikes of a sample themselves, with other lines for `[export]`."""
    text = recipe_file.read_text().replace("epochs = 4", "epochs = 1").replace("seeds = [0, 1]", "seeds = [0]")
    text = text.replace("steps = ", f'code = "{code}"\nsteps = ', 1)
    start, end = text.index("targets = "), text.index("samples = 20")
    (folder / "recipe.toml").write_text(text[:start] + export + text[end:])
    run(load(str(folder / "recipe.toml")), folder / "run")
    return folder / "run" / "seed-0"


@pytest.fixture(scope="module")
def poisson(recipe_file, tmp_path_factory) -> Path:
    export = 'targets = ["onnx", "lava"]\nquantize = "exact"\n'
    return coded_run("poisson", export, recipe_file, tmp_path_factory.mktemp("poisson"))


@pytest.fixture(scope="module")
def latency(recipe_file, tmp_path_factory) -> Path:
    export = 'targets = ["onnx"]\nstreaming = true\nspike_counts = true\nquantize = "int8"\n'
    return coded_run("latency", export, recipe_file, tmp_path_factory.mktemp("latency"))


@pytest.fixture(params=["poisson", "latency"])
def coded(request) -> Path:
    """The folder of a seed of either run."""
    return request.getfixturevalue(request.param)


def test_networks_whose_spikes_a_host_makes_are_exported_with_encoded_samples(coded):
    loaded = checkpoint.load(coded / "student" / "checkpoint.safetensors")
    data = loaded.progress.recipe.data.load()
    for folder in (coded / "bundles").iterdir():
        bundle = read_bundle(folder)
        manifest, inputs = bundle.manifest, bundle.given().inputs
        assert manifest.timed_input
        assert [piece.name for piece in manifest.chain] == ["body", "head"]
        assert f"a host makes of samples: {loaded.progress.recipe.code.kind.replace('p', 'P')} code" in manifest.notes[0]
        assert inputs.shape == (4, 20, 1, 8, 8)
        assert set(np.unique(inputs)) == {0, 1}
        assert verify(folder).passed
    correct = read_bundle(coded / "bundles" / "onnx").manifest.accuracy["exported"].correct
    deployment = deploy(loaded.network, data)
    session = Session.of_bundle(coded / "bundles" / "onnx")
    answers = [session.answer(deployment.inputs(x)).logits.argmax(-1) for x in data.test_samples.split(100)]
    assert correct == int((np.concatenate(answers) == data.test_labels.numpy()).sum())


def test_the_deployed_network_meets_the_draws_that_the_trained_one_is_evaluated_on(coded):
    loaded = checkpoint.load(coded / "student" / "checkpoint.safetensors")
    network, data = loaded.network.eval(), loaded.progress.recipe.data.load()
    deployment, x, y = deploy(network, data), data.test_samples[:60], data.test_labels[:60]
    with torch.no_grad():
        np.testing.assert_allclose(deployment.module()(x), network(x).logits, atol=1e-5)
    assert evaluate(deployment.module(), x, y).accuracy == evaluate(network, x, y).accuracy
    encoded = deployment.test[0][:, 10:20]
    one_by_one = np.concatenate([deployment.inputs(data.test_samples[n : n + 1]) for n in range(10, 20)], axis=1)
    assert np.array_equal(encoded, deployment.inputs(data.test_samples[10:20]))
    assert np.array_equal(encoded, one_by_one)
    assert deployment.calibration(12).shape == (4, 12, 1, 8, 8)


def test_a_network_whose_spikes_a_host_makes_is_not_fine_tuned_for_a_chip(poisson, cli):
    outcome = cli("export", poisson / "student" / "checkpoint.safetensors", "--target", "lava", "--finetune", 1)
    assert outcome.code == 2
    assert outcome.err.startswith("error: --finetune: for direct codes and events, a poisson code found")


def test_a_recipe_that_would_fine_tune_such_a_network_is_refused_before_its_training(cli, tmp_path, recipe_file):
    text = recipe_file.read_text().replace("steps = ", 'code = "latency"\nsteps = ', 1)
    text = text.replace('targets = ["onnx", "lava"]', 'targets = ["lava"]\nfinetune = { epochs = 1 }')
    (tmp_path / "recipe.toml").write_text(text)
    outcome = cli("train", tmp_path / "recipe.toml", "--output", tmp_path / "run")
    assert outcome.code == 2
    assert "export: finetune: for the code \"direct\" and for events, 'latency' found" in outcome.err
    assert not (tmp_path / "run").exists()


def test_a_recipe_may_stream_count_and_use_integers(latency):
    manifest = read_bundle(latency / "bundles" / "onnx").manifest
    assert (manifest.streaming, manifest.spike_counts, manifest.quantization["kind"]) == (True, True, "int8")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('targets = ["onnx", "lava"]', 'quantize = "int8"'), "quantize: 'int8' found, \"int8\" is for the target onnx"),
        (('targets = ["onnx"]', 'quantize = "int8"\ncalibration = 0'), "int8: no calibration inputs found"),
    ],
)
def test_a_recipe_that_asks_for_what_does_not_go_together_is_refused(cli, tmp_path, recipe_file, change, message):
    targets, quantize = change
    text = recipe_file.read_text()
    start = text.index("targets = ")
    text = text[:start] + targets + text[text.index("\n", start) :]
    path = tmp_path / "recipe.toml"
    path.write_text(text.replace('quantize = "exact"', quantize))
    outcome = cli("run", path, "--output", tmp_path / "run")
    assert outcome.code == 2
    assert message in outcome.err
    assert not (tmp_path / "run").exists()
