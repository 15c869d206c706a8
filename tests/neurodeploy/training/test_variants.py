"""Every way of training resumes exactly: optimizers, averages, early stopping, precision, pieces of batches, known answers."""

import json
from dataclasses import replace

import pytest
import torch
from lightning_fabric import Fabric

from neurodeploy.io.errors import UserError
from neurodeploy.recipe import parse, text_of
from neurodeploy.training import CHECKPOINT, METRICS, checkpoint, freeze, train
from neurodeploy.training.evaluation import evaluate
from neurodeploy.training.stopping import split

PLAIN = 'training = { epochs = 20, learning_rate = 0.1, weight_decay = 5e-4 }\nloss = [{ kind = "cross-entropy" }]'
SMALL = (
    text_of("digits")
    .replace("channels = [16, 32, 32, 64]", "channels = [4, 6, 6, 8]")
    .replace("epochs = 40", "epochs = 3")
    .replace("seeds = [0, 1, 2]", "seeds = [0]")
)
KD = '{ kind = "cross-entropy" }, { kind = "response" }, { kind = "laf" }'
VARIANTS = {
    "adam and an average": 'epochs = 4, optimizer = "adam", learning_rate = 0.01, average = 0.9',
    "adamw and steps": 'epochs = 4, optimizer = "adamw", learning_rate = 0.01, schedule = "step", step_epochs = 2',
    "augmentation": "epochs = 4",
    "pieces": "epochs = 4, batch_size = 100, accumulate = 3",
    "early stopping": "epochs = 4, patience = 9, validation_samples = 300, average = 0.5",
}
FABRICS = {"32-true": None, "bf16-mixed": Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")}


AUGMENTATION = 'augmentation = [{ kind = "crop", padding = 1 }, { kind = "cutout", size = 2 }, { kind = "mixup" }]\n'


def variant_of(name: str):
    return recipe_of(VARIANTS[name], before=AUGMENTATION if name == "augmentation" else "")


def recipe_of(training: str, loss: str = '{ kind = "cross-entropy" }', extra: str = "", before: str = ""):
    assert PLAIN in SMALL
    text = before + SMALL.replace(PLAIN, f"training = {{ {training} }}\nloss = [{loss}]\n{extra}", 1)
    return parse(text, origin="variant")


RECIPE = recipe_of("epochs = 4")
DATA = RECIPE.data.load()
FEW = replace(DATA, train_samples=DATA.train_samples[:600], train_labels=DATA.train_labels[:600])


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return freeze(train(RECIPE, "teacher", 0, tmp_path_factory.mktemp("teacher"), data=DATA))


def lines(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]


class Stopped(Exception):
    pass


def cut_after(epochs: int):
    def watch(epoch, _count):
        if epoch == epochs:
            raise Stopped

    return watch


@pytest.mark.parametrize("precision", FABRICS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_run_that_was_cut_and_resumed_ends_with_the_weights_of_one_that_was_not(tmp_path, variant, precision):
    recipe, fabric = variant_of(variant), FABRICS[precision]
    whole = train(recipe, "baseline", 0, tmp_path / "whole", data=FEW, fabric=fabric)
    with pytest.raises(Stopped):
        train(recipe, "baseline", 0, tmp_path / "cut", data=FEW, fabric=fabric, watch=cut_after(2))
    cut = train(recipe, "baseline", 0, tmp_path / "cut", data=FEW, fabric=fabric, resume=True)
    kept = checkpoint.load(tmp_path / "cut" / CHECKPOINT)
    for other in (cut, kept.network):
        assert all(torch.equal(other.state_dict()[name], value) for name, value in whole.state_dict().items())
    assert kept.others == {}
    assert all(value.dtype != torch.bfloat16 for value in whole.state_dict().values())
    for one, other in zip(lines(tmp_path / "whole"), lines(tmp_path / "cut"), strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_learns(tmp_path, variant):
    train(variant_of(variant), "baseline", 0, tmp_path, data=DATA)
    found = lines(tmp_path)
    assert found[-1]["loss"] < found[0]["loss"]
    assert found[-1]["train_accuracy"] > found[0]["train_accuracy"]


def test_the_average_of_the_weights_is_what_training_ends_with(tmp_path):
    plain = train(recipe_of("epochs = 3"), "baseline", 0, tmp_path / "plain", data=DATA).state_dict()
    with pytest.raises(Stopped):
        train(recipe_of("epochs = 4, average = 0.9"), "baseline", 0, tmp_path / "cut", data=DATA, watch=cut_after(3))
    kept = checkpoint.load(tmp_path / "cut" / CHECKPOINT)
    assert set(kept.group("average")) == set(plain)
    ended = train(recipe_of("epochs = 3, average = 0.9"), "baseline", 0, tmp_path / "average", data=DATA).state_dict()
    assert not torch.equal(ended["conv2.weight"], plain["conv2.weight"])
    accuracy = evaluate(checkpoint.load(tmp_path / "average" / CHECKPOINT).network, DATA.test_samples, DATA.test_labels)
    assert accuracy.accuracy.percent > 50


def test_training_stops_when_the_validation_accuracy_no_longer_rises_and_ends_with_the_best_weights(tmp_path):
    recipe = recipe_of("epochs = 40, patience = 2, validation_samples = 200, learning_rate = 0.3")
    network = train(recipe, "baseline", 0, tmp_path, data=DATA)
    found, progress = lines(tmp_path), checkpoint.load(tmp_path / CHECKPOINT).progress
    validation = [line["validation_accuracy"] for line in found]
    assert progress.stopped
    assert progress.complete
    assert len(found) == progress.epoch < 40
    assert max(validation) == validation[-3] > max(validation[-2:], default=0) - 1e-9
    held_out = split(DATA, 200, 0).validation
    again = evaluate(network, DATA.train_samples[held_out], DATA.train_labels[held_out])
    assert again.accuracy.percent == max(validation) == progress.best_accuracy
    assert train(recipe, "baseline", 0, tmp_path, data=DATA, resume=True) is not network
    assert lines(tmp_path) == found


def test_answers_that_the_teacher_gave_once_train_the_same_student(tmp_path, teacher):
    ended = []
    for name, extra in (("asked", ""), ("known", "known_teacher = true\n")):
        recipe = recipe_of("epochs = 2", KD, extra)
        ended.append(train(recipe, "baseline", 0, tmp_path / name, data=DATA, teacher=teacher).state_dict())
    for name, value in ended[0].items():
        torch.testing.assert_close(ended[1][name], value, rtol=1e-3, atol=1e-3)


def test_known_answers_have_no_taps_and_terms_that_read_them_are_refused(tmp_path, teacher):
    recipe = recipe_of("epochs = 1", '{ kind = "attention" }', "known_teacher = true\n")
    with pytest.raises(UserError, match="attention"):
        train(recipe, "baseline", 0, tmp_path, data=DATA, teacher=teacher)


def test_label_smoothing_raises_the_teachers_loss(tmp_path):
    smooth = parse(SMALL.replace("epochs = 3\n", "epochs = 3\nlabel_smoothing = 0.2\n"), origin="smooth")
    assert smooth.teacher.label_smoothing == 0.2
    for name, recipe in (("plain", RECIPE), ("smooth", smooth)):
        train(recipe, "teacher", 0, tmp_path / name, data=DATA)
    assert lines(tmp_path / "smooth")[-1]["loss"] > 2 * lines(tmp_path / "plain")[-1]["loss"]
