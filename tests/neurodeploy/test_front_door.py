"""`import neurodeploy as nd`: the verbs over what the packages do, and the names of the version before."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import neurodeploy as nd
from neurodeploy.data import Digits
from neurodeploy.dynamics.encodings import DirectEncoding, EventInput, PoissonEncoding
from neurodeploy.dynamics.layers import Add, BatchNorm2d, Conv2d, Flatten, Neuron, TimeMean
from neurodeploy.graph.agreement import check_agreement
from neurodeploy.graph.tracing import trace
from neurodeploy.recipe import parse, text_of

IMAGES = Digits().load().test_samples[:60]
SMALL = (
    text_of("digits")
    .replace("channels = [16, 32, 32, 64]", "channels = [4, 6, 6, 8]")
    .replace("epochs = 20", "epochs = 1")
    .replace("epochs = 40", "epochs = 1")
    .replace("seeds = [0, 1, 2]", "seeds = [0]")
)


class Network(nn.Sequential):
    def forward(self, images):
        return super().forward(images.unsqueeze(0))


def network(*, normalised: bool = False) -> Network:
    torch.manual_seed(0)
    return Network(
        Conv2d(1, 4, 3, padding=1),
        BatchNorm2d(4) if normalised else nn.Identity(),
        DirectEncoding(steps=3),
        nd.LIF(threshold=0.3),
        Conv2d(4, 6, 3, stride=2),
        nd.LIF(threshold=0.3),
        Flatten(),
        nn.Linear(54, 10),
        TimeMean(),
    ).eval()


@pytest.fixture(scope="module")
def model() -> nd.Model:
    return nd.deploy(network(), IMAGES)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> nd.Run:
    return nd.train(parse(SMALL, origin="test"), tmp_path_factory.mktemp("runs") / "small", device="cpu")


def test_every_name_is_listed_and_can_be_had():
    assert dir(nd) == sorted(nd.__all__)
    assert all(getattr(nd, name) is not None for name in nd.__all__)
    assert nd.losses.Response(weight=0.5).weight == 0.5


def test_importing_the_toolkit_does_not_load_torch():
    code = "import sys, neurodeploy; dir(neurodeploy); sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


HEAVY = {
    "lightning_fabric",
    "matplotlib",
    "onnxruntime",
    "pandas",
    "pooch",
    "requests",
    "scipy",
    "sklearn",
    "sympy",
    "tensorboardX",
}
"""Packages that take seconds to import together; training, figures, downloads and runtimes need them."""
BEFORE_THE_WORK = f"""
import sys
import neurodeploy as nd
from neurodeploy.cli.main import main

def check(what):
    if loaded := {HEAVY} & sys.modules.keys():
        sys.exit(f"{{what}} imports {{sorted(loaded)}}")

for verb in ("verify", "deploy", "export", "energy", "load"):
    getattr(nd, verb)
    check(f"nd.{{verb}}")
for command in ("verify", "map", "simulate", "evaluate", "energy", "export --target onnx --output away"):
    sys.argv = ["neurodeploy", *command.split(), "missing.safetensors"]
    try:
        main()
    except SystemExit as end:
        assert end.code == 2, (command, end.code)
    check(f"neurodeploy {{command}}")
"""


def test_verbs_and_commands_import_only_what_they_need(tmp_path):

    done = subprocess.run([sys.executable, "-c", BEFORE_THE_WORK], check=False, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_a_type_checker_knows_every_name_and_its_type(tmp_path):
    source = tmp_path / "user.py"
    lines = [f"reveal_type(nd.{name})" for name in nd.__all__ if name not in ("losses", "__version__")]
    source.write_text("\n".join(["import neurodeploy as nd", *lines, "nd.losses.Response(weight=0.5)", "nd.trian"]))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--no-incremental",
            "--cache-dir",
            str(tmp_path),
            "--follow-imports=silent",
            str(source),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert 'has no attribute "trian"' in done.stdout
    assert done.stdout.count("Revealed type is") == len(lines)
    assert '"Any"' not in done.stdout


@pytest.mark.parametrize("target", ["onnx", "lava", "nir"])
def test_a_network_is_deployed_exported_verified_and_accounted_for_in_a_few_lines(model, tmp_path, target):
    bundle = nd.export(model, target, str(tmp_path / target), samples=8, quantize="exact")
    check = nd.verify(bundle)
    assert check.passed
    assert check.mismatches == 0 < check.spikes_compared
    assert nd.verify(str(bundle.folder)).mismatched_spikes == check.mismatched_spikes
    report = nd.energy(bundle, baseline=network())
    assert report.samples == 8
    assert report.comparison is not None


def test_a_deployed_model_counts_the_spikes_of_its_module(model):
    deployed, own = nd.energy(model), nd.energy(network(), IMAGES)
    assert [row.spikes for row in deployed.layers] == [row.spikes for row in own.layers]
    assert own.samples == len(IMAGES)


@pytest.mark.parametrize(("target", "quantize"), [("onnx", "none"), ("lava", "exact"), ("nir", "none")])
def test_a_bundle_says_how_its_sample_compares_with_the_module_itself(model, tmp_path, target, quantize):
    bundle = nd.export(model, target, tmp_path / "b", samples=8, quantize=quantize)
    found, sample = bundle.manifest.module, bundle.given()
    assert found.spikes_compared == sum(spikes.size for spikes in sample.spikes.values())
    module, fired = network(), {}
    for name in sample.spikes:
        module.get_submodule(name).register_forward_hook(lambda _m, _x, y, name=name: fired.update({name: y.numpy()}))
    with torch.no_grad():
        logits = module(torch.from_numpy(sample.inputs)).numpy()
    assert found.differing_spikes == sum(int((fired[name] != spikes).sum()) for name, spikes in sample.spikes.items())
    assert found.changed_answers == int((logits.argmax(1) != sample.logits.argmax(1)).sum())
    assert (found.differing_spikes == 0) == (quantize == "none")
    assert "against the module itself" in str(bundle)


def test_arrays_are_taken_like_tensors(model):
    report = nd.energy(model, IMAGES.numpy().astype(np.float64))
    assert report.total.spikes == nd.energy(model, IMAGES).total.spikes


def test_batch_norm_is_folded_after_the_comparison():
    model = nd.deploy(network(normalised=True), IMAGES)
    assert model.graph is not None
    assert "BatchNorm" not in {node.kind for node in model.graph.nodes}


def test_sequences_with_the_time_axis_in_front_are_deployed(tmp_path):
    torch.manual_seed(0)
    body = nn.Sequential(
        Conv2d(2, 3, 3), nd.LIF(threshold=0.2), Conv2d(3, 4, 3), nd.LIF(threshold=0.2), Flatten(), TimeMean()
    ).eval()
    events = (torch.rand(5, 7, 2, 6, 6) < 0.4).float()
    model = nd.deploy(body, events, batch_axis=1)
    assert model.graph is not None
    assert model.graph.input.timed
    assert model.test_samples is not None
    assert model.test_samples.shape == (7, 5, 2, 6, 6)
    assert nd.verify(nd.export(model, "onnx", tmp_path / "b", samples=4)).passed


def test_a_code_of_random_spikes_is_left_to_the_host(tmp_path):
    torch.manual_seed(0)
    coded = nn.Sequential(
        PoissonEncoding(4), Conv2d(1, 3, 3), nd.LIF(threshold=0.2), Conv2d(3, 4, 3), nd.LIF(), Flatten(), TimeMean()
    )
    model = nd.deploy(coded.eval(), IMAGES[:9])
    assert model.graph is not None
    assert model.graph.input.timed
    assert nd.verify(nd.export(model, "lava", tmp_path / "b", samples=4, quantize="exact")).passed


class Louder(Conv2d):
    def forward(self, x):
        return 1.5 * super().forward(x)


def test_a_subclass_and_a_hook_that_compute_something_else_are_followed(tmp_path):
    changed = network()
    changed[4].__class__ = Louder
    changed[7].register_forward_hook(lambda _module, _inputs, output: 3 * output - 1)
    model = nd.deploy(changed, IMAGES)
    torch.testing.assert_close(model.module(IMAGES), changed(IMAGES))
    assert not torch.allclose(changed(IMAGES), network()(IMAGES))
    assert nd.verify(nd.export(model, "onnx", tmp_path / "b", samples=4)).passed


def test_a_difference_of_rounding_alone_is_none():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.entry, self.one, self.two, self.add, self.act = EventInput(), Conv2d(1, 3, 3), Conv2d(1, 3, 3), Add(), nd.LIF()
            self.flatten, self.mean = Flatten(), TimeMean()

        def forward(self, x):
            x = self.entry(x)
            return self.mean(self.flatten(self.act(self.add(self.one(x), self.two(x)))))

    torch.manual_seed(0)
    branches, samples = Branches().eval(), torch.rand(6, 4, 1, 6, 6)
    graph = trace(branches, (1, 6, 6), timed=True)
    assert check_agreement(branches, graph, samples) == 4 * 6 * 3 * 4 * 4


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (torch.zeros(0, 1, 8, 8), "at least one sample"),
        (torch.zeros(3), "at least one sample"),
        (torch.zeros(3, 2, 8, 8), r"layer 0 \(neurodeploy.dynamics.layers.Conv2d\): does not run on samples \(2, 2, 8, 8\)"),
    ],
)
def test_samples_that_do_not_fit_are_refused(samples, message):
    with pytest.raises(nd.UserError, match=message):
        nd.deploy(network(), samples)


def test_what_cannot_be_exported_says_so(run, model, tmp_path):
    with pytest.raises(nd.UserError, match=r"torch module; call neurodeploy\.deploy on it first"):
        nd.export(run["teacher"], "onnx", tmp_path / "a")
    bundle = nd.export(model, "onnx", tmp_path / "b", samples=2)
    with pytest.raises(nd.UserError, match="an exported artefact already"):
        nd.export(bundle.folder, "onnx", tmp_path / "c")
    with pytest.raises(nd.UserError, match="streaming: no option of the target lava, which has: quantize, input_bits"):
        nd.export(model, "lava", tmp_path / "d", streaming=True)
    with pytest.raises(nd.UserError, match="target 'abacus': unknown"):
        nd.export(model, "abacus", tmp_path / "e")
    assert {path.name for path in tmp_path.iterdir()} == {"b"}


def test_a_trained_run_gives_its_networks_and_its_summary(run, tmp_path):
    assert run.roles == ("teacher", "baseline", "student")
    assert "accuracy, %" in str(run.summary)
    assert max(map(len, str(run).splitlines())) <= 80
    bundle = nd.export(run["student"], "onnx", tmp_path / "b", samples=4, quantize="exact")
    assert nd.verify(bundle).passed
    assert bundle.manifest.accuracy["float"].samples == 500
    with pytest.raises(nd.UserError, match="no network 'pupil'; there are: teacher, baseline, student"):
        run["pupil"]
    with pytest.raises(nd.UserError, match="no seed 7; there are: 0"):
        run.model("student", 7)


def test_runs_are_compared_and_the_comparison_shows_itself(run, tmp_path):
    comparison = nd.compare(run.folder, baseline="baseline")
    assert "accuracy against estimated energy" in str(comparison)
    assert "student" in str(comparison)
    assert comparison.save(tmp_path)["html"].is_file()
    assert comparison._repr_html_().lower().startswith("<!doctype html>")


@pytest.mark.parametrize("what", ["model", "check", "report"])
def test_what_is_printed_fits_a_screen(model, tmp_path, what):
    shown = {
        "model": lambda: model,
        "check": lambda: nd.verify(nd.export(model, "onnx", tmp_path / "b", samples=2)),
        "report": lambda: nd.energy(model),
    }[what]()
    lines = str(shown).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 40
    assert "<" in shown._repr_html_()


@pytest.mark.parametrize(
    ("old", "names"),
    [
        ("neurodeploy.layers", "Conv2d Flatten Neuron TimeMean"),
        ("neurodeploy.neurons", "NeuronParameters neuron_step"),
        ("neurodeploy.encoding", "DirectEncoding"),
        ("neurodeploy.evaluation", "evaluate mean_and_interval Accuracy"),
        ("neurodeploy.job", "run"),
        ("neurodeploy.results", "read Results NetworkResult"),
        ("neurodeploy.networks", "Spiking"),
        ("neurodeploy.networks.activation", "Relu Spiking"),
        ("neurodeploy.networks.output", "NetworkOutput"),
        ("neurodeploy.data.settings", "DataSetSettings"),
        ("neurodeploy.models", "of_checkpoint of_bundle"),
        ("neurodeploy.targets", "find names"),
        ("neurodeploy.summary", "places_of"),
        ("neurodeploy.graph.nodes", "Conv Neuron Output"),
        ("neurodeploy", "load_recipe load_checkpoint trace fold_batch_norm NeuronParameters neuron_step"),
        ("neurodeploy_energy.cost", "load built_in Profile"),
        ("neurodeploy_energy.memory_model", "load names"),
        ("neurodeploy_energy.deployment", "deployment"),
        ("neurodeploy_energy.twins", "flips"),
        ("neurodeploy_energy.report.conventions", "CONVENTIONS"),
        ("neurodeploy_energy", "profile"),
        ("neurodeploy_exporters.lava.mapping.opening", "open_circuit"),
        ("neurodeploy_exporters.lava.mapping.document", "faults summary"),
    ],
)
def test_what_the_guides_of_version_0_1_imported_goes_on_with_a_warning(old, names):
    for name in names.split():
        with pytest.warns(DeprecationWarning, match=f"{old}.{name} is "):
            exec(f"from {old} import {name}", {})


def test_a_name_that_never_was_is_no_attribute():
    with pytest.raises(AttributeError, match="module 'neurodeploy' has no attribute 'trian'"):
        nd.trian  # noqa: B018
    with pytest.raises(ImportError):
        exec("from neurodeploy.layers import Convolution3d", {})


def test_one_network_of_a_recipe_can_be_trained_by_the_old_call(run, tmp_path):
    recipe, data = parse(SMALL, origin="test"), Digits().load()
    with pytest.warns(DeprecationWarning, match="neurodeploy.train trains whole recipes now"):
        trained = nd.train(recipe, "baseline", 0, tmp_path / "x", data=data)
    expected = run["baseline"].module.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in trained.state_dict().items())


def test_no_warning_comes_from_the_new_names():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert isinstance(nd.IF(), Neuron)
        assert isinstance(nd.CubaLIF(), Neuron)
        assert isinstance(nd.ParametricLIF(), Neuron)


def test_batch_norm_before_an_analog_output_is_compared_with_the_digits_that_the_module_has():
    torch.manual_seed(0)
    norm = BatchNorm2d(4)
    analog = Network(
        Conv2d(1, 4, 3), norm, DirectEncoding(steps=3), nd.LIF(threshold=0.3), Conv2d(4, 3, 6), nn.ReLU(), Flatten(), TimeMean()
    )
    analog.train()
    for batch in IMAGES.split(20):
        analog(batch)
    assert nd.deploy(analog.eval(), IMAGES).graph is not None
    graph = trace(analog, (1, 8, 8))
    norm.weight.data[2] *= 1.001
    with pytest.raises(nd.UserError, match=r"Network: does something else .*node 1: field scale differs"):
        check_agreement(analog, graph, IMAGES)


def test_a_model_without_samples_is_exported_on_given_ones(model, tmp_path):
    bundle = nd.export(model, "nir", tmp_path / "nir", samples=4)
    network = nd.load(bundle.folder / "whole.nir")
    with pytest.raises(nd.UserError, match="brings no samples of its own"):
        nd.export(network, "onnx", tmp_path / "none")
    assert nd.verify(nd.export(network, "onnx", tmp_path / "onnx", inputs=IMAGES[:6], samples=6)).passed


def test_a_tensor_is_one_batch_for_a_module():
    seen = []
    own = network()
    own.register_forward_pre_hook(lambda _module, inputs: seen.append(len(inputs[0])))
    nd.energy(own, IMAGES.repeat(5, 1, 1, 1))
    assert seen == [300, 1]  # the batch, and its last sample alone, which tells the axis of the samples


def test_a_bundle_prints_what_it_holds(model, tmp_path):
    text = str(nd.export(model, "lava", tmp_path / "b", samples=2))
    assert "lava bundle of Network" in " ".join(text.split())
    assert "body.net" in text
    assert max(map(len, text.splitlines())) <= 80 or "/" in max(text.splitlines(), key=len)


def test_a_student_has_one_name_in_its_bundles(run, tmp_path):
    assert nd.export(run["student"], "onnx", tmp_path / "b", samples=2).manifest.model == "digits-student"
    assert max(map(len, str(run["student"]).splitlines())) <= 80


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused_with_their_sample(model, tmp_path, value):
    broken = IMAGES.clone()
    broken[3, 0, 2, 2] = broken[7, 0, 0, 0] = value
    message = r"samples: sample 3 holds values .* \((nan|inf) at \[0, 2, 2\], of 60 samples\)"
    with pytest.raises(nd.UserError, match=message):
        nd.deploy(network(), broken)
    with pytest.raises(nd.UserError, match=message):
        nd.energy(model, broken)
    with pytest.raises(nd.UserError, match=message):
        nd.export(model, "onnx", tmp_path / "b", inputs=broken)
    assert list(tmp_path.iterdir()) == []


def test_axes_and_steps_of_a_module_are_refused_for_what_has_its_own(model):
    for options in ({"batch_axis": 1}, {"steps": 9}):
        with pytest.raises(nd.UserError, match="steps, batch_axis, time_axis: for torch modules"):
            nd.energy(model, IMAGES, **options)
        with pytest.raises(nd.UserError, match="steps, batch_axis, time_axis: for torch modules"):
            nd.energy(network(), IMAGES, baseline=model, **options)
