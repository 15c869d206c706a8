"""Targets are found by name, and their options by the fields of their classes, in recipes old and new."""

import inspect
import json
from importlib.metadata import EntryPoint, EntryPoints
from typing import ClassVar, get_args

import pytest

from neurodeploy.cli import export
from neurodeploy.cli.target_options import with_target_options
from neurodeploy.io.errors import UserError
from neurodeploy.recipe import Recipe, parse, text_of
from neurodeploy_exporters import Target, TargetOptions, target
from neurodeploy_exporters.c import CTarget
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
    assert target.names() == ("c", "lava", "nir", "onnx")
    assert [type(target.find(name)) for name in target.names()] == [CTarget, LavaTarget, NirTarget, OnnxTarget]


def test_an_unknown_target_is_refused_with_those_that_are_installed():
    with pytest.raises(UserError, match="target 'abacus': unknown; installed are: c, lava, nir, onnx"):
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
    monkeypatch.setattr(target, "installed", lambda _group: added)
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
    given = {"quantize": "exact", "input_bits": 8, "streaming": True, "spike_counts": False}
    assert {name: chosen["onnx"][name] for name in given} == given
    assert chosen["lava"] == {"quantize": "none", "input_bits": 8, "head_cut": "cheapest", "scales": "layer"}


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


class Clashing(Target):
    """Its option has the name of one of the export command's own."""

    class Own(TargetOptions):
        samples: int = 3

    name = "clashing"
    Options = Own
    formats: ClassVar = {}

    def export(self, subject, folder, options):
        raise NotImplementedError


@pytest.fixture
def installed(monkeypatch):
    """Makes entry points those that are installed, beside the target "onnx"."""

    def install(**points: str) -> None:
        points |= {"onnx": "neurodeploy_exporters.onnx.target:OnnxTarget"}
        added = EntryPoints([EntryPoint(name, value, target.GROUP) for name, value in points.items()])
        monkeypatch.setattr(target, "installed", lambda _group: added)

    return install


def test_a_broken_target_of_another_package_stops_no_other(installed):
    installed(broken="nothing_there:Nothing")
    assert list(target.usable()) == ["onnx"]
    with pytest.raises(UserError, match=r"export: head-cut: no option of onnx$"):
        recipe('targets = ["onnx"]\nhead_cut = "last-spike"')
    assert recipe('targets = ["onnx"]\nstreaming = true').export.options["onnx"]["streaming"] is True
    assert "--streaming" in {one for option in parameters() for one in option}
    with pytest.raises(UserError, match="target 'broken': nothing_there:Nothing cannot be imported"):
        target.find("broken")


def test_an_option_with_the_name_of_one_of_the_commands_own_is_refused_with_its_target(installed, monkeypatch):
    installed()
    monkeypatch.setattr(target, "usable", lambda: {"clashing": Clashing()})
    with pytest.raises(UserError, match="target clashing: its option samples is one of the command's own"):
        parameters()


def parameters() -> list[tuple[str, ...]]:
    """The options of the export command, as Typer is given them."""
    signature = inspect.signature(with_target_options(export.command))
    infos = [get_args(one.annotation)[-1] for one in signature.parameters.values() if get_args(one.annotation)]
    return [(getattr(info, "default", None), *(getattr(info, "param_decls", None) or ())) for info in infos]
