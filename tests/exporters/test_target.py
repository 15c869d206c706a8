"""Targets are found by name, and their options by the fields of their classes, in recipes old and new."""

import json
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from neurodeploy.io.errors import UserError
from neurodeploy.recipe import Recipe, parse, text_of
from neurodeploy_exporters import Target, target
from neurodeploy_exporters.lava import LavaTarget
from neurodeploy_exporters.nir import NirTarget
from neurodeploy_exporters.onnx import OnnxTarget

DIGITS = text_of("digits")
EXPORT = DIGITS[DIGITS.index("[export]") : DIGITS.index("[energy]")]


def recipe(section: str) -> Recipe:
    return parse(DIGITS.replace(EXPORT, f"[export]\n{section}\n"), origin="test")


def options(section: str) -> dict[str, dict[str, object]]:
    return {name: chosen.model_dump() for name, (_, chosen) in recipe(section).export.target_options().items()}


def test_the_targets_of_this_package_are_installed():
    assert target.names() == ("lava", "nir", "onnx")
    assert [type(target.find(name)) for name in target.names()] == [LavaTarget, NirTarget, OnnxTarget]


def test_an_unknown_target_is_refused_with_those_that_are_installed():
    with pytest.raises(UserError, match="target 'abacus': unknown; installed are: lava, nir, onnx"):
        target.find("abacus")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("json:dumps", "json:dumps is <function dumps .*, a class derived from neurodeploy_exporters.Target expected"),
        ("nothing_there:Nothing", "nothing_there:Nothing cannot be imported .ModuleNotFoundError"),
        ("neurodeploy_exporters.lava:LavaTarget", "calls itself 'lava'; entry point and class need the same name"),
    ],
)
def test_an_entry_point_that_is_no_target_is_refused_by_name(monkeypatch, value, message):
    added = EntryPoints([EntryPoint("mine", value, target.GROUP)])
    monkeypatch.setattr(target, "_installed", lambda _path: added)
    with pytest.raises(UserError, match=f"target 'mine': .*{message}"):
        target.find("mine")


def test_an_option_is_given_to_every_target_that_has_it_and_to_no_other():
    given = {"quantize": "exact", "streaming": True, "head_cut": "last-synapse"}
    shared = target.shared_options(["onnx", "lava"], given)
    assert shared == {
        "onnx": {"quantize": "exact", "streaming": True},
        "lava": {"quantize": "exact", "head_cut": "last-synapse"},
    }


@pytest.mark.parametrize(
    ("targets", "given", "message"),
    [
        (["onnx"], {"head_cut": "last-synapse"}, "head-cut: no option of onnx; add the target lava, or leave it out"),
        (["lava", "nir"], {"streaming": True}, "streaming: no option of lava, nir; add the target onnx, or leave it out"),
        (["onnx"], {"colour": "red"}, "colour: no option of onnx$"),
    ],
)
def test_an_option_that_no_target_has_is_refused_with_those_that_do(targets, given, message):
    with pytest.raises(UserError, match=message):
        target.shared_options(targets, given)


def test_a_recipe_gives_options_to_all_targets_or_to_one():
    chosen = options('targets = ["onnx", "lava"]\nquantize = "none"\n[export.onnx]\nstreaming = true\nquantize = "exact"')
    assert chosen["onnx"] == {"quantize": "exact", "streaming": True, "spike_counts": False}
    assert chosen["lava"] == {"quantize": "none", "head_cut": "last-spike"}


def test_weights_are_exact_where_a_recipe_does_not_say():
    chosen = options('targets = ["onnx", "lava", "nir"]')
    assert {one["quantize"] for one in chosen.values()} == {"exact"}


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ('targets = ["onnx"]\nhead_cut = "last-synapse"', "export: head-cut: no option of onnx; add the target lava"),
        ('targets = ["onnx"]\n[export.lava]\nhead_cut = "last-spike"', "lava: options of a target that is none of onnx"),
        ('targets = ["lava"]\nquantize = "int8"', "lava has 8-bit weights always"),
        ('targets = ["nir"]\nquantize = "int8"', "NIR files hold floats"),
        ('targets = ["onnx"]\n[export.onnx]\nstream = true', "stream: no option of the target onnx, which has: quantize"),
        ('targets = ["onnx"]\nstreaming = "perhaps"', "streaming: 'perhaps' found, input should be a valid boolean"),
        ('targets = ["onnx"]\nfinetune = { epochs = 1 }', r'finetune: for targets = \["lava"\] alone, onnx found'),
    ],
)
def test_options_that_do_not_fit_are_refused_when_a_recipe_is_read(section, message):
    with pytest.raises(UserError, match=message):
        recipe(section)


def test_a_stored_recipe_of_version_0_1_says_every_option_and_means_the_same():
    now = json.loads(recipe('targets = ["onnx"]\nsamples = 16').model_dump_json())
    before = json.loads(json.dumps(now))
    before["export"] = {
        "targets": ["onnx"],
        "quantize": "exact",
        "samples": 16,
        "calibration": 64,
        "head_cut": "last-spike",
        "streaming": False,
        "spike_counts": False,
        "finetune": None,
    }
    assert Recipe.model_validate(before) == Recipe.model_validate(now)


def test_a_stored_recipe_is_read_again_as_it_was():
    first = recipe('targets = ["onnx", "lava"]\nquantize = "none"\n[export.lava]\nhead_cut = "last-synapse"')
    assert Recipe.model_validate_json(first.model_dump_json()) == first


def test_a_recipe_for_a_target_that_is_not_installed_can_be_read_but_not_exported():
    strange = recipe('targets = ["abacus"]\nbeads = 10')
    assert strange.export.options == {"abacus": {"beads": 10}}
    with pytest.raises(UserError, match="'abacus': unknown"):
        strange.export.target_options()


def test_a_target_that_cannot_be_tuned_says_so(graph):
    with pytest.raises(UserError, match="target onnx: networks are exported as they were trained"):
        OnnxTarget().tuning(graph("conv"), None)


def test_a_target_is_a_class_with_an_export():
    with pytest.raises(TypeError, match="abstract"):
        Target()
