"""Fine-tuning in the chip's integers, on real digits: reproducible, resumable, and worth its while."""

import functools
import json
import multiprocessing
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from neurodeploy.app import finetune as finetuning
from neurodeploy.app.deployment import calibration_inputs
from neurodeploy.app.finetune import Tuned, finetune, finetune_student
from neurodeploy.conversion import Method, initialise
from neurodeploy.data import DataSet, Digits
from neurodeploy.dynamics.layers import Neuron, ThresholdNeuron
from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.dynamics.surrogates import Rectangle
from neurodeploy.graph import Graph, fold_batch_norm, ops, partition
from neurodeploy.graph.grid import to_grid
from neurodeploy.graph.module import GraphModule
from neurodeploy.graph.tracing import trace
from neurodeploy.io.errors import Failure, UserError
from neurodeploy.networks import ConvNetSpec, Relu, SpikingActivations
from neurodeploy.recipe import FinetuneSettings, parse, text_of
from neurodeploy.training import CHECKPOINT, METRICS
from neurodeploy.training.evaluation import Accuracy, Evaluation, evaluate
from neurodeploy_exporters.bundle import read_bundle
from neurodeploy_exporters.lava import LavaTarget, export
from neurodeploy_exporters.lava.quantize import quantize_body

ALL = Digits().load()
DATA = replace(ALL, train_samples=ALL.train_samples[:700], train_labels=ALL.train_labels[:700])
SPEC = ConvNetSpec(channels=(8, 12, 16), strides=(1, 2, 2))
NEURON = Neuron(NeuronParameters(), Rectangle())
SHORT = FinetuneSettings(epochs=3, batch_size=128, learning_rate=3e-3)


def learn(network: torch.nn.Module, epochs: int, samples: torch.Tensor = DATA.train_samples) -> torch.nn.Module:
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    count = len(DATA.train_labels)
    for index in torch.randperm(epochs * count).remainder(count).split(64):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(samples[index]).logits, DATA.train_labels[index]).backward()
        optimizer.step()
    return network.eval()


@functools.cache
def trained() -> Graph:
    """A small student with hard reset, after a few epochs on digits."""
    torch.manual_seed(0)
    network = SPEC.build(1, 10, SpikingActivations(lambda: Neuron(NeuronParameters(0.5, 1.0, "hard"), Rectangle()), 4, False))
    return fold_batch_norm(trace(learn(network, 5), (1, 8, 8)))


def converted() -> Graph:
    """A ReLU network made a spiking one with soft reset, on which conversion rests."""
    torch.manual_seed(0)
    source = learn(SPEC.build(1, 10, Relu()), 5)
    network = SPEC.build(
        1, 10, SpikingActivations(lambda: ThresholdNeuron(NeuronParameters(1.0, 1.0, "soft"), Rectangle()), 8, False)
    )
    initialise(network, source, DATA.train_samples[:128], method=Method())
    return fold_batch_norm(trace(network.eval(), (1, 8, 8)))


def tuned(folder: Path, graph: Graph | None = None, settings: FinetuneSettings = SHORT, **options) -> Tuned:
    given = {"seed": 0, "held_out": 100, "neuron": NEURON, "target": LavaTarget()} | options
    return finetune(trained() if graph is None else graph, DATA, folder, settings, **given)


def accuracy(module: torch.nn.Module) -> float:
    return evaluate(module, DATA.test_samples, DATA.test_labels).accuracy.percent


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]


def same(one: Tuned, other: Tuned) -> bool:
    states = one.module.state_dict(), other.module.state_dict()
    heads = all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    return heads and one.tuned == other.tuned and states[0].keys() == states[1].keys()


def test_it_learns_and_writes_one_line_of_metrics_per_epoch(tmp_path):
    seen = []
    result = tuned(tmp_path, watch=lambda epoch, count: seen.append((epoch, count)))
    written = lines(tmp_path)
    assert [line["epoch"] for line in written] == [1, 2, 3]
    assert written[-1]["loss"] < written[0]["loss"]
    assert written[0]["loss"] == pytest.approx(sum(written[0]["terms"].values()))
    assert sum(count for _, count in seen) == 3 * (len(DATA.train_labels) - 100)
    assert written[-1]["learning_rate"] < written[0]["learning_rate"] < SHORT.learning_rate
    assert accuracy(result.module) > accuracy(result.start) - 2


@pytest.mark.parametrize("quantize", ["none", "exact"])
def test_the_tuned_network_in_torch_is_what_its_graph_and_scales_quantise_to(tmp_path, quantize):
    result = tuned(tmp_path, quantize=quantize)
    body = quantize_body(result.graph, partition(result.graph).body, scales=result.tuned)
    for node in body.graph.nodes:
        if hasattr(node, "weight"):
            assert torch.equal(result.module.get_submodule(node.name).weight, torch.from_numpy(node.weight))
    before = result.start.get_submodule("conv2").weight
    assert (result.module.get_submodule("conv2").weight != before).any()


def test_the_scales_are_those_that_an_export_without_fine_tuning_chooses_on_the_same_samples(tmp_path):
    result = tuned(tmp_path, calibration=16)
    plain = export(trained(), DATA.test_samples[:2].numpy(), tmp_path / "b", name="n", calibration=calibration_inputs(DATA, 16))
    layers = read_bundle(plain).manifest.quantization["layers"]
    assert {name: layer["scale"] for name, layer in layers.items()} == result.tuned
    assert result.tuned != tuned(tmp_path / "other", calibration=0).tuned


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path):
    a, b, c = (tuned(tmp_path / name, seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    assert same(a, b)
    assert not same(a, c)


class Stopped(Exception):
    pass


def test_a_stop_in_mid_epoch_and_resume_give_the_weights_of_an_uninterrupted_run(tmp_path):
    whole = tuned(tmp_path / "whole")

    def stop(epoch: int, _: int) -> None:
        if epoch == 2:
            raise Stopped

    with pytest.raises(Stopped):
        tuned(tmp_path / "cut", watch=stop)
    assert same(tuned(tmp_path / "cut", resume=True), whole)
    assert [line["epoch"] for line in lines(tmp_path / "cut")] == [1, 2, 3]
    assert same(tuned(tmp_path / "cut", resume=True), whole)


def _victim(folder: Path) -> None:
    tuned(folder, settings=SHORT.model_copy(update={"epochs": 5}))


def test_kill_9_in_mid_training_and_resume_give_the_same_weights_bit_for_bit(tmp_path):
    trained()
    process = multiprocessing.get_context("fork").Process(target=_victim, args=(tmp_path / "cut",))
    process.start()
    while process.is_alive() and not ((tmp_path / "cut" / METRICS).exists() and len(lines(tmp_path / "cut")) >= 2):
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    longer = SHORT.model_copy(update={"epochs": 5})
    assert same(tuned(tmp_path / "cut", settings=longer, resume=True), tuned(tmp_path / "whole", settings=longer))


@pytest.fixture(scope="module")
def used(tmp_path_factory) -> Path:
    """A folder in which a fine-tuning has ended."""
    folder = tmp_path_factory.mktemp("used")
    tuned(folder)
    return folder


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"seed": 1}, "seed"),
        ({"held_out": 50}, "held_out"),
        ({"quantize": "exact"}, "quantize"),
        ({"calibration": 9}, "calibration"),
        ({"settings": SHORT.model_copy(update={"epochs": 4})}, "settings"),
        ({"graph": to_grid(trained())}, "origin"),
    ],
)
def test_a_folder_in_use_is_refused_unless_it_is_this_run_to_be_resumed(used, change, field):
    with pytest.raises(UserError, match=r"checkpoint\.safetensors: exists; add --resume to continue it"):
        tuned(used)
    with pytest.raises(UserError, match=f"its {field} differs from this run's"):
        tuned(used, resume=True, **change)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    (tmp_path / CHECKPOINT).write_bytes(b"x" * 100)
    with pytest.raises(UserError, match=r"checkpoint\.safetensors: not a readable checkpoint"):
        tuned(tmp_path, resume=True)


def test_the_best_epoch_is_kept_and_of_equals_the_last(tmp_path, monkeypatch):
    states, scores = [], iter([50, 60, 60, 40])

    def judged(module, *_, **__) -> Evaluation:
        states.append(module.tuned_graph()["conv2"].weight)
        return Evaluation(Accuracy(next(scores), 100), {})

    monkeypatch.setattr(finetuning, "evaluate", judged)
    result = tuned(tmp_path, settings=SHORT.model_copy(update={"epochs": 4}))
    kept = [bool((state == result.graph["conv2"].weight).all()) for state in states]
    assert kept == [False, False, True, False]
    assert [line["validation_accuracy"] for line in lines(tmp_path)] == [50, 60, 60, 40]


def test_samples_that_are_held_out_are_not_learned_from(tmp_path):
    everything = len(DATA.train_labels)
    result = tuned(tmp_path, held_out=everything - 1, settings=SHORT.model_copy(update={"epochs": 1}))
    assert isinstance(result, Tuned)
    with pytest.raises(UserError, match="fewer than the"):
        tuned(tmp_path / "all", held_out=everything)


def test_soft_reset_is_refused_and_with_reset_the_network_recovers_what_the_chips_reset_costs(tmp_path):
    graph = converted()
    with pytest.raises(UserError, match=r'node act2: reset "soft" found; .* --finetune-reset'):
        tuned(tmp_path / "refused", graph)
    settings = FinetuneSettings(epochs=3, learning_rate=5e-3, reset=True)
    result = tuned(tmp_path / "reset", graph, settings)
    assert accuracy(result.start) < accuracy(GraphModule(graph))
    assert accuracy(result.module) > accuracy(result.start) + 30
    assert [node.parameters.reset for node in result.graph.of(ops.NeuronNode)] == ["soft", "hard", "hard"]


def test_a_loss_that_is_not_finite_is_a_failure_that_says_what_to_do(tmp_path):
    with pytest.raises(Failure, match=r"epoch \d, step \d+: the loss is (nan|inf); lower finetune.learning_rate"):
        tuned(tmp_path, settings=SHORT.model_copy(update={"learning_rate": 1e37}))


def test_a_student_is_tuned_with_the_augmentation_and_the_surrogate_of_its_recipe(tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr(finetuning, "finetune", lambda *_, **options: seen.update(options))
    text = text_of("digits").replace("[network]", '[[augmentation]]\nkind = "crop"\npadding = 1\n\n[network]')
    recipe = parse(text, origin="cropped")
    finetune_student(
        recipe, "student", 7, trained(), tmp_path, SHORT, target=LavaTarget(), data=DATA, quantize="exact", calibration=8
    )
    assert (seen["seed"], seen["held_out"], seen["quantize"], seen["calibration"]) == (7, 70, "exact", 8)
    assert seen["neuron"].surrogate == Rectangle(1.0)
    assert [one.kind for one in seen["augmentation"]] == ["crop"]
    with pytest.raises(
        UserError, match="teacher: a ReLU network, and only spiking ones are fine-tuned; give a student's checkpoint"
    ):
        finetune_student(
            recipe, "teacher", 7, trained(), tmp_path, SHORT, target=LavaTarget(), data=DATA, quantize="exact", calibration=8
        )


def test_event_frames_are_tuned_too(tmp_path):
    frames, tests = ((x.unsqueeze(1).expand(-1, 4, -1, -1, -1) > 0.4).float() for x in (DATA.train_samples, DATA.test_samples))
    data = DataSet("events", frames, DATA.train_labels, tests, DATA.test_labels, 10, "thresholded digits", timed=True)
    torch.manual_seed(0)
    activations = SpikingActivations(lambda: Neuron(NeuronParameters(0.5, 1.0, "hard"), Rectangle()), 4, False, "events")
    network = learn(SPEC.build(1, 10, activations), 5, frames)
    graph = fold_batch_norm(trace(network, (1, 8, 8), timed=True))
    result = finetune(graph, data, tmp_path, SHORT, target=LavaTarget(), seed=0, held_out=100, neuron=NEURON)
    found, before = (evaluate(module, tests, DATA.test_labels).accuracy.percent for module in (result.module, network))
    assert found > before - 5 > 60
