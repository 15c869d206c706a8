import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from neurodeploy.cli.main import main
from neurodeploy.io.errors import Failure, UserError
from neurodeploy.recipe import load, parse, text_of
from neurodeploy.training import CHECKPOINT, METRICS, checkpoint, freeze, train
from neurodeploy.training.evaluation import Accuracy, evaluate, mean_and_interval
from neurodeploy.training.experiment import checkpoint_of, folder_of, train_all

SMALL = (
    text_of("digits")
    .replace("channels = [16, 32, 32, 64]", "channels = [4, 6, 6, 8]")
    .replace("epochs = 20", "epochs = 3")
    .replace("epochs = 40", "epochs = 3")
    .replace("seeds = [0, 1, 2]", "seeds = [0]")
)
RECIPE = parse(SMALL, origin="small")
DATA = RECIPE.data.load()


def weights(path) -> dict[str, torch.Tensor]:
    return checkpoint.load(path).network.state_dict()


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return freeze(train(RECIPE, "teacher", 0, tmp_path_factory.mktemp("teacher"), data=DATA))


def test_training_learns_and_writes_one_line_of_metrics_per_epoch(teacher, tmp_path):
    seen = []
    watch = lambda epoch, count: seen.append((epoch, count))  # noqa: E731
    network = train(RECIPE, "student", 0, tmp_path, data=DATA, teacher=teacher, watch=watch)
    lines = [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert set(lines[0]["terms"]) == {"cross-entropy", "laf", "logits", "activity"}
    assert sum(count for _, count in seen) == 3 * len(DATA.train_labels)
    assert evaluate(network, DATA.test_samples, DATA.test_labels).accuracy.percent > 50


def test_two_loss_terms_of_one_kind_have_a_metric_each(tmp_path):
    loss = '[{ kind = "cross-entropy" }, { kind = "activity", norm = "l1" }, { kind = "activity", norm = "l2", weight = 2.0 }]'
    recipe = parse(SMALL.replace('loss = [{ kind = "cross-entropy" }]', f"loss = {loss}"), origin="two")
    train(recipe, "baseline", 0, tmp_path, data=DATA)
    for line in map(json.loads, (tmp_path / METRICS).read_text().splitlines()):
        terms = line["terms"]
        assert list(terms) == ["cross-entropy", "activity", "activity-2"]
        assert line["loss"] == pytest.approx(terms["cross-entropy"] + terms["activity"] + 2 * terms["activity-2"])


def test_a_teacher_of_another_definition_teaches_by_its_answers_but_not_by_features_of_another_width(tmp_path):
    dense = 'epochs = 3\nnetwork = { kind = "densenet", blocks = [2, 2], growth = 4 }\n'
    text = SMALL.replace("epochs = 3\n", dense, 1).replace("repact = true\n", "")
    recipe = parse(text, origin="dense")
    teacher = freeze(train(recipe, "teacher", 0, tmp_path / "teacher", data=DATA))
    assert type(teacher).__name__ == "DenseNet"
    assert type(checkpoint.load(tmp_path / "teacher" / CHECKPOINT).network).__name__ == "DenseNet"
    with pytest.raises(UserError, match=r"loss term laf: features of 8 values found, the teacher's \d+ expected"):
        train(recipe, "student", 0, tmp_path / "laf", data=DATA, teacher=teacher)
    response = parse(text.replace('kind = "laf", weight = 0.1, temperature = 20.0', 'kind = "response"'), origin="dense")
    student = train(response, "student", 0, tmp_path / "response", data=DATA, teacher=teacher)
    assert evaluate(student, DATA.test_samples, DATA.test_labels).accuracy.percent > 30


def test_a_last_batch_of_one_sample_joins_the_one_before(tmp_path):
    recipe = parse(
        SMALL.replace("epochs = 3", "epochs = 1, batch_size = 162").replace("epochs = 1, batch_size = 162\n", "epochs = 1\n"),
        origin="odd",
    )
    seen = []
    train(recipe, "baseline", 0, tmp_path, data=DATA, watch=lambda _, count: seen.append(count))
    assert seen == [162] * 7 + [163]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path):
    runs = {name: train(RECIPE, "baseline", seed, tmp_path / name, data=DATA) for name, seed in (("a", 0), ("b", 0), ("c", 1))}
    a, b, c = (list(network.parameters()) for network in runs.values())
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert not torch.equal(a[0], c[0])


class Stopped(Exception):
    pass


def test_a_stop_in_mid_epoch_and_resume_give_the_weights_of_an_uninterrupted_run(teacher, tmp_path):
    train(RECIPE, "student", 0, tmp_path / "whole", data=DATA, teacher=teacher)

    def stop(epoch: int, _: int) -> None:
        if epoch == 1:
            raise Stopped

    with pytest.raises(Stopped):
        train(RECIPE, "student", 0, tmp_path / "cut", data=DATA, teacher=teacher, watch=stop)
    train(RECIPE, "student", 0, tmp_path / "cut", data=DATA, teacher=teacher, resume=True)
    whole, cut = (weights(tmp_path / name / CHECKPOINT) for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    epochs = [json.loads(line)["epoch"] for line in (tmp_path / "cut" / METRICS).read_text().splitlines()]
    assert epochs == [1, 2, 3]


def test_kill_9_in_mid_training_and_resume_give_the_same_final_weights_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = tmp_path / "small.toml"
    recipe.write_text(SMALL.replace("epochs = 3", "epochs = 8"))
    command = ["train", str(recipe), "--device", "cpu", "--output"]
    process = subprocess.Popen(
        [sys.executable, "-m", "neurodeploy", *command, tmp_path / "cut"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    victim = folder_of(tmp_path / "cut", 0, "baseline") / METRICS
    while process.poll() is None and not (victim.exists() and len(victim.read_text().splitlines()) >= 3):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not checkpoint.load(checkpoint_of(tmp_path / "cut", 0, "baseline")).progress.complete
    for rest in (["whole"], ["cut", "--resume"]):  # in this process, which has imported everything
        monkeypatch.setattr(sys, "argv", ["neurodeploy", *command, *rest])
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code
    for role in ("teacher", "baseline", "student"):
        whole, cut = (weights(checkpoint_of(tmp_path / run, 0, role)) for run in ("whole", "cut"))
        assert all(torch.equal(whole[name], cut[name]) for name in whole)


def test_a_folder_in_use_is_refused_unless_it_is_this_run_to_be_resumed(tmp_path):
    train(RECIPE, "baseline", 0, tmp_path, data=DATA)
    with pytest.raises(UserError, match="add --resume"):
        train(RECIPE, "baseline", 0, tmp_path, data=DATA)
    with pytest.raises(UserError, match="its seed differs"):
        train(RECIPE, "baseline", 1, tmp_path, data=DATA, resume=True)
    before = weights(tmp_path / CHECKPOINT)
    done = train(RECIPE, "baseline", 0, tmp_path, data=DATA, resume=True)
    assert all(torch.equal(before[name], tensor) for name, tensor in done.state_dict().items())


def test_a_student_whose_loss_needs_a_teacher_is_not_trained_without_one(tmp_path):
    with pytest.raises(UserError, match="student student: its loss needs a teacher"):
        train(RECIPE, "student", 0, tmp_path, data=DATA)


def test_a_loss_that_is_not_finite_stops_the_training_with_advice(tmp_path):
    wild = parse(SMALL.replace("learning_rate = 0.1", "learning_rate = 1e38"), origin="wild")
    with pytest.raises(Failure, match="lower training"):
        train(wild, "teacher", 0, tmp_path, data=DATA)


def test_another_recipe_in_the_run_folder_is_refused(tmp_path):
    start = lambda recipe, **options: next(  # noqa: E731
        iter(train_all(recipe, tmp_path, DATA, **options))
    )
    seed, role, _ = start(RECIPE)
    assert (seed, role) == (0, "teacher")
    with pytest.raises(UserError, match="holds a run already"):
        start(RECIPE)
    with pytest.raises(UserError, match="another recipe, in which teacher is trained otherwise"):
        start(parse(SMALL.replace("learning_rate = 0.1", "learning_rate = 0.2"), origin="x"), resume=True)


def test_what_a_network_does_not_depend_on_may_change_and_it_goes_on(tmp_path):
    list(train_all(RECIPE, tmp_path, DATA))
    before = (tmp_path / "seed-0" / "teacher" / CHECKPOINT).read_bytes()
    another = '[[student]]\nname = "another"\ntraining = { epochs = 1 }\n\n'
    more = SMALL.replace("[[student]]", another + "[[student]]", 1)
    trained = [role for _, role, _ in train_all(parse(more, origin="x"), tmp_path, DATA, resume=True)]
    assert trained == ["teacher", "another", *(student.name for student in RECIPE.student)]
    assert (tmp_path / "seed-0" / "teacher" / CHECKPOINT).read_bytes() == before
    with pytest.raises(UserError, match="in which another is trained otherwise"):
        list(train_all(parse(more.replace("steps = 4", "steps = 2"), origin="x"), tmp_path, DATA, resume=True))


def test_a_network_is_trained_otherwise_where_what_it_is_made_of_or_taught_by_is():
    recipe = load("qcfs-resnet20-cifar10")
    first = recipe.quantized[0]
    longer = first.model_copy(update={"training": first.training.model_copy(update={"epochs": 99})})
    other = recipe.model_copy(update={"quantized": (longer, *recipe.quantized[1:]), "description": "another"})
    alike = [role for role in recipe.roles if recipe.trains_like(other, role)]
    assert alike == ["teacher"]  # every other is made of the first, or of what is made of it
    fewer = recipe.model_copy(update={"student": recipe.student[:1]})
    assert all(recipe.trains_like(fewer, role) for role in fewer.roles)
    taught = recipe.model_copy(update={"teacher": recipe.teacher.model_copy(update={"arguments": {"blocks": 5}})})
    assert not any(recipe.trains_like(taught, role) for role in recipe.roles)


def test_accuracy_carries_a_wilson_interval():
    low, high = Accuracy(490, 500).interval
    assert (round(low, 2), round(high, 2)) == (96.36, 98.91)
    assert Accuracy(0, 10).interval[0] == 0
    assert Accuracy(10, 10).interval[1] == pytest.approx(100)
    assert "(490 of 500" in str(Accuracy(490, 500))


def test_a_mean_over_seeds_carries_students_interval_and_a_single_value_none():
    average, half = mean_and_interval([1.0, 2.0, 3.0])
    assert average == 2
    assert half == pytest.approx(4.302653 / 3**0.5, rel=1e-5)
    assert mean_and_interval([5.0]) == (5.0, None)
