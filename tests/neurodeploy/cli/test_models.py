"""Ready models by name: the cards, one at work, and commands that take a name where they take a model."""

import json
import shutil
from pathlib import Path

import pytest
import torch

import neurodeploy as nd
from benchmarks import ready_models
from neurodeploy.app import ready
from neurodeploy.recipe import parse
from neurodeploy.training import checkpoint
from neurodeploy.training.carried import CARRIED, carried
from neurodeploy.training.evaluation import evaluate
from neurodeploy_exporters.verify import verify

NAMES = ready.names()


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder of ready models of its own."""
    monkeypatch.setattr(ready, "root", lambda: tmp_path / "ready_models")
    return tmp_path / "ready_models"


@pytest.fixture(scope="session")
def made(tmp_path_factory, finished, recipe_file) -> Path:
    """A ready model of the small run, in a folder of ready models."""
    root = tmp_path_factory.mktemp("ready") / "ready_models"
    recipe = parse(recipe_file.read_text(), origin="small")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ready, "root", lambda: root)
        patch.setattr(ready_models, "built_in", lambda: {recipe.name: recipe})
        return ready_models.make(finished, "small-digits", None, 1, "abc1234", samples=8)


@pytest.fixture
def small(folder, made) -> str:
    """The name of a ready model."""
    shutil.copytree(made, folder / made.name)
    return made.name


def test_the_models_are_listed_with_accuracy_spikes_and_energy(cli):
    outcome = cli("models")
    assert outcome.code == 0
    for name in NAMES:
        shown = ready.card(name)
        assert f"{shown.deployed.accuracy.percent:.2f}" in outcome.out
        assert f"{name}: {shown.description}. Data: {shown.data}." in outcome.out
    assert [one["name"] for one in json.loads(cli("models", "--json").out)] == NAMES


def test_a_card_tells_how_the_model_was_made_and_under_which_licences(cli, small):
    text = cli("models", small).out
    for part in ("abc1234", "seed 1", "CC BY 4.0", "Apache-2.0", "0 differ", "95 % interval"):
        assert part in text
    document = json.loads(cli("models", small, "--json").out)
    assert document["origin"]["command"] == "neurodeploy train digits --output runs/digits"


def test_a_card_has_the_numbers_of_the_exported_files(small):
    shown = ready.card(small)
    for target in ("onnx", "lava"):
        model = nd.load(f"{small}/{target}")
        data = nd.load(small)
        result = evaluate(model.module, data.test_samples, data.test_labels)
        assert result.accuracy.correct == shown.bundles[target].answers.correct
        assert result.spikes_per_sample == pytest.approx(shown.spikes)
        assert verify(ready.located(f"{small}/{target}")).passed
    assert shown.deployed == shown.bundles[shown.target].answers
    assert shown.deployed.samples == 500
    report = nd.energy(f"{small}/lava", data.test_samples, profiles=(shown.energy.chip,))
    assert report.total.sops == pytest.approx(shown.synops)


def test_a_model_at_work_shows_what_each_sample_is_taken_for(cli, small):
    document = json.loads(cli("models", small, "--try", "--json").out)
    assert len(document["samples"]) == 8
    data = carried(ready.root() / small / CARRIED)
    result = evaluate(nd.load(small).module, data.test_samples, data.test_labels)
    assert document["right"] == result.accuracy.correct
    assert sum(one["spikes"] for one in document["samples"]) == round(8 * result.spikes_per_sample)
    assert {one["label"] for one in document["samples"]} == {str(int(k)) for k in data.test_labels}
    text = cli("models", small, "--try").out
    assert f"{document['right']} of 8 right" in text


def test_the_samples_of_a_model_are_from_all_over_its_test_set(small):
    whole = nd.load(small)
    data = carried(ready.root() / small / CARRIED)
    first = torch.arange(0, 500, 62)[:8]
    assert torch.equal(data.test_samples[:], whole.test_samples[first])
    assert torch.equal(data.test_labels, whole.test_labels[first])


@pytest.mark.parametrize(
    "command",
    [
        ("evaluate", "{}"),
        ("evaluate", "{}/onnx", "--data", "digits"),
        ("energy", "{}"),
        ("energy", "{}/lava", "--baseline", "{}"),
        ("verify", "{}/onnx"),
        ("map", "{}/lava"),
        ("compare", "{}", "{}/onnx"),
        ("export", "{}", "--target", "nir"),
        ("benchmark", "{}", "--targets", "onnx", "--samples", "8", "--seconds", "0.1"),
    ],
)
def test_a_name_is_taken_wherever_a_model_is(cli, small, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    outcome = cli(*(part.format(small) for part in command))
    assert outcome.code == 0, outcome.err
    assert ready.checked(small)  # nothing was written beside the model's own files
    assert {str(path.relative_to(ready.root() / small)) for path in (ready.root() / small).rglob("*") if path.is_file()} == {
        ready.CARD,
        *ready.card(small).files,
    }


def test_an_export_of_a_ready_model_is_written_under_the_current_folder(cli, small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli("export", small, "--target", "nir").code == 0
    assert verify(tmp_path / "runs" / small / "bundles" / "nir").passed
    tuned = cli("export", small, "--target", "lava", "--finetune", "1")
    assert tuned.code == 0, tuned.err
    assert (tmp_path / "runs" / small / "finetuning").is_dir()
    assert sorted(path.name for path in (ready.root() / small).iterdir()) == [
        ready.CARD,
        ready.CHECKPOINT,
        "lava",
        "onnx",
        CARRIED,
    ]


def test_a_path_wins_over_a_name_and_says_so(cli, small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(small).write_bytes((ready.root() / small / ready.CHECKPOINT).read_bytes())
    outcome = cli("evaluate", small)
    assert outcome.code == 0, outcome.err
    assert f"{small}: the file or folder of that name here is taken, not the ready model" in outcome.err
    with pytest.warns(UserWarning, match="is taken, not the ready model"):
        nd.load(small)


def test_a_damaged_file_of_a_model_is_refused(cli, small):
    path = ready.root() / small / "onnx" / "whole.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"\x00\x01")
    outcome = cli("evaluate", small)
    assert outcome.code == 2
    assert outcome.err.startswith(f"error: {path}: SHA-256 ")
    path.unlink()
    assert f"{path}: no such file found" in cli("models", small, "--try").err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("models", "resnet-9000"), "resnet-9000: no ready model of that name (there are: small-digits)"),
        (("verify", "small-digits/c"), "small-digits/c: no such bundle of small-digits; there are: small-digits/onnx"),
        (("models", "--try"), "--try: runs one model; name it (small-digits)"),
    ],
)
@pytest.mark.usefixtures("small")
def test_what_is_not_there_is_named(cli, arguments, said):
    outcome = cli(*arguments)
    assert outcome.code == 2
    assert said in outcome.err


def test_without_its_data_set_a_model_takes_the_samples_that_come_with_it_and_says_so(cli, monkeypatch, tmp_path):
    name = "resnet8-fsdd-t4"
    monkeypatch.setenv("NEURODEPLOY_DATA", str(tmp_path))
    outcome = cli("evaluate", name, "--json")
    assert outcome.code == 0, outcome.err
    document = json.loads(outcome.out)
    assert document["samples"] == 16
    assert document["data"].startswith("16 test samples that come with the model")
    assert "warning: resnet8-fsdd-t4/student: its own data are unavailable" in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_checkpoint_without_samples_beside_it_still_asks_for_its_data(cli, monkeypatch, tmp_path):
    path = tmp_path / ready.CHECKPOINT
    path.write_bytes((ready.root() / "resnet8-fsdd-t4" / ready.CHECKPOINT).read_bytes())
    monkeypatch.setenv("NEURODEPLOY_DATA", str(tmp_path))
    outcome = cli("evaluate", path)
    assert outcome.code == 2
    assert "no fsdd data found" in outcome.err


@pytest.mark.parametrize("name", NAMES)
def test_every_model_of_the_package_is_whole_and_its_bundles_verify(name):
    folder, shown = ready.checked(name), ready.card(name)
    header, groups = checkpoint.read(folder / ready.CHECKPOINT)
    assert header.complete
    assert groups.keys() <= {"network", checkpoint.HELD}
    assert sum(one.numel() for one in nd.load(name).module.parameters()) == shown.parameters
    for target, bundle in shown.bundles.items():
        if not bundle.refusal:
            outcome = verify(folder / target)
            assert outcome.passed
            assert (outcome.spikes_compared, outcome.mismatches) == (bundle.spikes_compared, 0)


def test_all_models_together_are_a_few_megabytes():
    assert sum(path.stat().st_size for path in ready.root().rglob("*") if path.is_file()) < 8_000_000


def test_a_run_of_another_recipe_than_the_embedded_one_makes_no_ready_model(folder, finished):
    with pytest.raises(nd.UserError, match="digits: trained with other settings than the embedded recipe's: network"):
        ready_models.make(finished, None, None, None, None, samples=8)
    assert not folder.exists()
