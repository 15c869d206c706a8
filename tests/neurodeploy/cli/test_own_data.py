"""Commands on data of the user's own: another data set, files of arrays; refused in one line where they do not fit."""

import csv
import json
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

from neurodeploy.data import Digits

DATA = Digits().load()


def one_line(outcome):
    assert outcome.code == 2, outcome.out
    assert len(outcome.err.splitlines()) == 1
    return outcome.err


@pytest.fixture
def files(tmp_path):
    """Real digits as arrays with other splits than the kind's."""
    np.savez(
        tmp_path / "digits.npz",
        x_train=DATA.train_samples[:100],
        y_train=DATA.train_labels[:100],
        x_test=DATA.test_samples[:60],
        y_test=DATA.test_labels[:60],
    )
    np.save(tmp_path / "x.npy", DATA.test_samples[:40])
    np.save(tmp_path / "y.npy", DATA.test_labels[:40])
    return tmp_path


@pytest.fixture
def own(monkeypatch):
    """A module of a user's that answers with the nearest mean of its training images."""
    torch.manual_seed(0)
    means = torch.stack([DATA.train_samples[DATA.train_labels == k].mean(0).flatten() for k in range(10)])
    linear = nn.Linear(64, 10)
    with torch.no_grad():
        linear.weight.copy_(means)
        linear.bias.copy_(-(means**2).sum(1) / 2)
    module = ModuleType("own_code_on_data")
    module.make = lambda: nn.Sequential(nn.Flatten(), linear)
    monkeypatch.setitem(sys.modules, "own_code_on_data", module)
    return "own_code_on_data:make"


def test_a_checkpoint_is_evaluated_class_by_class_on_its_own_data(cli, student):
    outcome = cli("evaluate", student, "--device", "cpu")
    assert outcome.code == 0
    assert "most often taken for" in outcome.out
    answer = json.loads(cli("evaluate", student, "--json", "--device", "cpu").out)
    assert answer["samples"] == 500
    assert sum(one["samples"] for one in answer["classes"]) == 500
    assert np.trace(answer["confusion"]) == answer["correct"]
    recognised = sum(round(one["accuracy"] * one["samples"] / 100) for one in answer["classes"])
    assert recognised == answer["correct"]


def test_other_data_are_used_when_the_command_says_so(cli, student, files):
    answer = json.loads(cli("evaluate", student, "--data", f"npz:{files / 'digits.npz'}", "--json", "--device", "cpu").out)
    assert answer["samples"] == 60
    assert "digits.npz" in answer["data"]
    every = json.loads(
        cli("evaluate", student, "--data", f"npz:{files / 'digits.npz'}", "--part", "all", "--json", "--device", "cpu").out
    )
    assert every["samples"] == 160
    (files / "own.toml").write_text(f'[data]\nkind = "npz"\npath = "{files / "digits.npz"}"\n')
    table = json.loads(cli("evaluate", student, "--data", files / "own.toml", "--json", "--device", "cpu").out)
    assert table["confusion"] == answer["confusion"]
    arrays = json.loads(
        cli("evaluate", student, "--input", files / "x.npy", "--labels", files / "y.npy", "--json", "--device", "cpu").out
    )
    assert arrays["samples"] == 40


def test_a_module_needs_data_to_be_named(cli, own, files):
    line = one_line(cli("evaluate", own))
    assert "no data of its own; give data with --data, or --input samples.npy and --labels labels.npy" in line
    answer = json.loads(cli("evaluate", own, "--data", "digits", "--json", "--device", "cpu").out)
    assert answer["samples"] == 500
    assert answer["accuracy"] > 80
    arrays = json.loads(cli("evaluate", own, "--input", files / "x.npy", "--labels", files / "y.npy", "--json").out)
    assert arrays["samples"] == 40
    assert "no labels" in one_line(cli("evaluate", own, "--input", files / "x.npy"))


def test_a_module_cannot_be_fine_tuned_and_the_message_says_what_can(cli, own, files):
    options = ("--input", files / "x.npy", "--target", "lava", "--finetune", "1", "--output", files / "out")
    text = one_line(cli("export", own, *options))
    assert "--finetune: a module brings no training data, which a recipe with it as its teacher.module does" in text


def test_a_bundle_is_evaluated_by_its_files(cli, finished, student):
    bundle = finished / "seed-0" / "bundles" / "onnx"
    answer = json.loads(cli("evaluate", bundle, "--data", "digits", "--json").out)
    trained = json.loads(cli("evaluate", student, "--json", "--device", "cpu").out)
    assert answer["samples"] == 500
    assert abs(answer["accuracy"] - trained["accuracy"]) < 2
    assert "no labels; give data with --data" in cli("evaluate", bundle).err.splitlines()[-1]


@pytest.mark.parametrize("ending", ["csv", "png"])
def test_the_confusion_matrix_is_written(cli, student, tmp_path, ending):
    path = tmp_path / f"confusion.{ending}"
    outcome = cli("evaluate", student, "--confusion", path, "--device", "cpu")
    assert outcome.code == 0
    assert f"confusion matrix: {path}" in outcome.out
    if ending == "png":
        assert path.read_bytes().startswith(b"\x89PNG")
        return
    rows = list(csv.reader(path.read_text().splitlines()))
    assert rows[0] == ["class / answer", *map(str, range(10))]
    assert sum(int(cell) for row in rows[1:] for cell in row[1:]) == 500


def test_a_confusion_matrix_of_another_form_is_refused_first(cli, tmp_path):
    line = one_line(cli("evaluate", tmp_path / "absent.safetensors", "--confusion", "matrix.xls"))
    assert "matrix.xls: ends in .xls, .csv or .png expected" in line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--data", "digits", "--input", "x.npy"), "two sources of samples; give one of them"),
        (("--labels", "y.npy"), "--labels: belong to the samples of --input"),
        (("--input", "x.npy", "--part", "all"), "--part: of a data set, and --input has no parts"),
        (("--input", "absent.npy"), "absent.npy: no such file"),
        (("--input", "x.npy", "--labels", "few.npy"), "few.npy: 7 labels found for 40 samples"),
        (("--input", "x.npy", "--labels", "halves.npy"), "halves.npy: label of sample 0 is 0.5, a whole number expected"),
        (("--input", "x.npy", "--labels", "high.npy"), "label of sample 3 is 10, 0 to 9 expected"),
        (("--input", "nan.npy", "--labels", "y.npy"), "nan.npy: sample 2 holds values that are no finite float32"),
        (("--input", "wide.npy", "--labels", "y.npy"), "wide.npy: samples of shape (3, 8, 8) found, (1, …) expected"),
        (("--data", "folder:absent"), "absent: no such folder"),
        (("--data", "absent.toml"), "absent.toml: no such file"),
        (("--data", "empty.toml"), "--data empty.toml: no table [data] found"),
        (("--data", "nothing-like-it"), "'nothing-like-it' found, one of"),
        (("--data", "npz:colour.npz"), "--data npz:colour.npz: samples of shape (3, 8, 8) found, (1, …) expected"),
        (("--data", "npz:two.npz"), "--data npz:two.npz: 2 classes found, 10 expected as in the training of the network"),
        (("--data", "shifted.toml"), "the network was trained"),
    ],
)
def test_data_that_do_not_fit_are_refused_in_one_line(cli, student, files, monkeypatch, options, message):
    monkeypatch.chdir(files)
    x, y = DATA.test_samples[:40].numpy(), DATA.test_labels[:40].numpy()
    np.save("few.npy", y[:7])
    np.save("halves.npy", 0 * y + 0.5)
    np.save("high.npy", np.where(np.arange(40) == 3, 10, y))
    np.save("wide.npy", np.repeat(x, 3, axis=1))
    broken = x.copy()
    broken[2, 0, 0, 0] = np.nan
    np.save("nan.npy", broken)
    np.savez("colour.npz", x_train=np.repeat(x, 3, axis=1), y_train=y)
    np.savez("two.npz", x_train=x, y_train=y % 2)
    (files / "empty.toml").write_text('name = "nothing"\n')
    (files / "shifted.toml").write_text(
        '[data]\nkind = "npz"\npath = "digits.npz"\nnormalize = { mean = [0.5], std = [0.5] }\n'
    )
    assert message in one_line(cli("evaluate", student, *options, "--device", "cpu"))


def test_energy_counts_on_the_data_that_are_named(cli, own, student, files):
    answer = json.loads(cli("energy", student, "--data", f"npz:{files / 'digits.npz'}", "--json").out)
    assert answer["samples"] == 60
    module = json.loads(cli("energy", own, "--data", "digits", "--json").out)
    assert module["samples"] == 500
    assert "brings no data of its own; give samples with --input samples.npy, or --data" in one_line(cli("energy", own))


def test_a_comparison_may_be_on_data_that_none_was_trained_on(cli, own, student, files):
    outcome = cli("compare", student, own, "--data", f"npz:{files / 'digits.npz'}", "--json")
    assert outcome.code == 0, outcome.err
    text = json.dumps(json.loads(outcome.out))
    assert "digits/student" in text
    assert own in text
    assert "no data of its own; give --data" in one_line(cli("compare", student, own))


def test_modules_and_bundles_are_compared_on_samples_of_a_file(cli, own, student, finished, tmp_path):
    data = Digits().load()
    np.save(tmp_path / "x.npy", data.test_samples[:12].numpy())
    np.save(tmp_path / "y.npy", data.test_labels[:12].numpy())
    files = ("--input", str(tmp_path / "x.npy"), "--labels", str(tmp_path / "y.npy"))
    outcome = cli("compare", student, own, *files, "--json")
    assert outcome.code == 0, outcome.err
    assert own in outcome.out
    bundle = str(finished / "seed-0" / "bundles" / "onnx")
    outcome = cli("compare", student, bundle, "--json")
    assert outcome.code == 0, outcome.err
    assert bundle in outcome.out
    assert "two sources of samples" in one_line(cli("compare", own, *files, "--data", "digits"))


def test_a_module_is_exported_on_a_data_set_with_its_accuracy(cli, small_named, spiking, monkeypatch, tmp_path):
    module = ModuleType("own_spiking_code")
    module.network = small_named("conv").build(spiking(3), trained=True)
    monkeypatch.setitem(sys.modules, "own_spiking_code", module)
    outcome = cli(
        "export",
        "own_spiking_code:network",
        "--data",
        "digits",
        "--target",
        "onnx",
        "--output",
        tmp_path,
        "--samples",
        4,
        "--json",
    )
    assert outcome.code == 0, outcome.err
    accuracy = json.loads(outcome.out)[0]["accuracy"]
    assert accuracy["float"]["samples"] == 500
    assert accuracy["exported"]["correct"] == accuracy["float"]["correct"]
    assert cli("verify", tmp_path / "onnx").code == 0
