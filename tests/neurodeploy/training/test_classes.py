"""Classes of unequal size: held out by their share, weighed, and each with an accuracy of its own."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from neurodeploy.data import Digits
from neurodeploy.distillation import CrossEntropy
from neurodeploy.io.errors import UserError
from neurodeploy.networks import NetworkOutput
from neurodeploy.recipe import parse, text_of
from neurodeploy.training.evaluation import evaluate
from neurodeploy.training.stopping import split

DATA = Digits().load()
FEW = replace(DATA, train_samples=DATA.train_samples[:100], train_labels=torch.tensor([0] * 90 + [1] * 10))


def output(logits):
    return NetworkOutput(logits, logits[None], logits[None], {})


def test_a_stratified_validation_set_has_every_class_by_its_share():
    parts = split(FEW, 20, 0, stratified=True)
    assert FEW.train_labels[parts.validation].tolist() == [0] * 18 + [1] * 2
    assert sorted([*parts.train.tolist(), *parts.validation.tolist()]) == list(range(100))
    assert torch.equal(parts.validation, split(FEW, 20, 0, stratified=True).validation)
    assert not torch.equal(parts.validation, split(FEW, 20, 1, stratified=True).validation)


def test_validation_sets_of_earlier_recipes_stay_as_they_were():
    assert split(DATA, 100, 3).validation[:8].tolist() == [0, 40, 62, 106, 120, 164, 167, 186]  # those of version 0.2.0
    assert not torch.equal(split(DATA, 100, 3).validation, split(DATA, 100, 3, stratified=True).validation)


def test_a_recipe_says_so_only_with_samples_to_hold_out():
    text = text_of("digits").replace("[teacher]", "[teacher]\nstratified = true", 1)
    with pytest.raises(UserError, match=r"teacher: stratified: true found without validation_samples"):
        parse(text, origin="mine.toml")


def test_balanced_weights_make_every_class_count_alike():
    term = CrossEntropy(class_weights="balanced").fitted(FEW.train_labels, 2)
    assert term.class_weights == pytest.approx((100 / 180, 100 / 20))
    logits = torch.randn(100, 2)
    value = term(output(logits), None, FEW.train_labels)
    by_class = [cross_entropy(logits[FEW.train_labels == k], FEW.train_labels[FEW.train_labels == k]) for k in (0, 1)]
    assert torch.allclose(value, torch.stack(by_class).mean())


@pytest.mark.parametrize("probabilities", [False, True])
def test_parts_of_a_batch_add_up_to_the_whole(probabilities):
    term = CrossEntropy(class_weights=(0.5, 3.0, 1.0), label_smoothing=0.1)
    logits, labels = torch.randn(12, 3), torch.arange(12) % 3
    targets = torch.rand(12, 3).softmax(1) if probabilities else labels
    whole = term(output(logits), None, targets)
    parts = [
        term(output(logits[part]), None, targets[part]) * (part.stop - part.start) / 12 for part in (slice(0, 5), slice(5, 12))
    ]
    assert torch.allclose(whole, sum(parts))


def test_weights_of_one_are_none():
    logits, labels = torch.randn(9, 3), torch.arange(9) % 3
    plain, ones = CrossEntropy(), CrossEntropy(class_weights=(1.0, 1.0, 1.0))
    assert torch.allclose(plain(output(logits), None, labels), ones(output(logits), None, labels))


@pytest.mark.parametrize(
    ("weights", "classes", "message"),
    [
        ((1.0, 2.0), 3, r"class_weights: 2 found for 3 classes"),
        ("balanced", 3, r"class_weights: class 2 has no training samples to be balanced by"),
    ],
)
def test_weights_that_fit_no_class_are_refused(weights, classes, message):
    with pytest.raises(UserError, match=message):
        CrossEntropy(class_weights=weights).fitted(FEW.train_labels, classes)


class Shifted(nn.Module):
    """Answers with the class that the first value says, but takes class 2 for class 0."""

    def forward(self, x):
        said = x[:, 0].long()
        return nn.functional.one_hot(torch.where(said == 2, 0, said), 4).float()


def test_the_confusion_matrix_says_what_was_taken_for_what():
    labels = torch.tensor([0, 1, 2, 2, 3, 3, 3, 0, 1])
    result = evaluate(Shifted(), labels[:, None].float(), labels, batch_size=4)
    expected = np.diag([2, 2, 0, 3])
    expected[2, 0] = 2
    assert np.array_equal(result.confusion, expected)
    assert (result.accuracy.correct, result.accuracy.samples) == (7, 9)
    assert {k: (a.correct, a.samples) for k, a in result.by_class.items()} == {0: (2, 2), 1: (2, 2), 2: (0, 2), 3: (3, 3)}


def test_logits_of_steps_are_averaged():
    def steps(x):
        return torch.stack([Shifted()(x), 2 * Shifted()(x)])

    network = nn.Module()
    network.forward = steps
    labels = torch.tensor([0, 1, 3])
    assert evaluate(network, labels[:, None].float(), labels).accuracy.percent == 100


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 4], r"label of sample 2 is 4, 0 to 3 expected: the network tells 4 classes apart"),
        ([0, -1, 2], r"label of sample 1 is -1, 0 to 3 expected"),
        ([0, 1], r"3 samples and 2 labels found"),
    ],
)
def test_labels_that_fit_no_answer_are_refused(labels, message):
    with pytest.raises(UserError, match=message):
        evaluate(Shifted(), torch.zeros(3, 1), torch.tensor(labels))


def test_an_answer_that_is_no_logits_is_refused():
    with pytest.raises(UserError, match=r"the network answers 3 samples with \[3\], logits \[B, K\]"):
        evaluate(nn.Flatten(0), torch.zeros(3, 1), torch.zeros(3, dtype=torch.long))
