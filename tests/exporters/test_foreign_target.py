"""A target of another package is a full citizen: recipes, run, export, verify, energy and the help know it and its options."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from neurodeploy.cli import console as console_module
from neurodeploy.cli.main import main
from neurodeploy.recipe import text_of

Call = Callable[..., tuple[int, str, str]]
"""Arguments → exit code, output and error."""

MODULE = Path(__file__).with_name("foreign") / "coarse_target.py"
SMALL = (
    text_of("digits")
    .replace("channels = [16, 32, 32, 64]", "channels = [4, 6, 6, 8]")
    .replace("epochs = 20", "epochs = 1")
    .replace("epochs = 40", "epochs = 1")
    .replace("seeds = [0, 1, 2]", "seeds = [0]")
    .replace('targets = ["onnx", "lava"]', 'targets = ["coarse", "onnx"]')
)
TABLE = '\n[export.coarse]\nsteps_per_unit = 32\norder = "backwards"\n'


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder on the path with the other package installed in it."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copy(MODULE, folder)
    about = folder / "coarse_target-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: coarse-target\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[neurodeploy.exporters]\ncoarse = coarse_target:CoarseTarget\n")
    return folder


@pytest.fixture(scope="module")
def finished(site) -> Path:
    """A run's folder, made by a process that has the package on its path from the start."""
    (site / "small.toml").write_text(SMALL + TABLE)
    paths = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "neurodeploy", "run", "small.toml", "--output", "run", "--device", "cpu"]
    done = subprocess.run(command, cwd=site, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return site / "run"


@pytest.fixture
def call(site, capsys, monkeypatch) -> Iterator[Call]:
    """A command in the folder, with the package on this process's path while a test lasts."""
    monkeypatch.chdir(site)
    monkeypatch.syspath_prepend(str(site))
    for console in (console_module.out, console_module.err):
        monkeypatch.setattr(console, "width", 200)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["neurodeploy", *arguments])
        monkeypatch.setenv("COLUMNS", "200")
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        return (int(end.value.code or 0), *capsys.readouterr())

    yield run
    sys.modules.pop("coarse_target", None)


def test_a_run_exports_to_it_with_the_options_of_its_table_and_counts_what_it_fires(finished):
    manifest = json.loads((finished / "seed-0/bundles/coarse/manifest.json").read_text())
    assert manifest["quantization"] == {"kind": "coarse", "steps_per_unit": 32}
    summary = json.loads((finished / "summary.json").read_text())["verify"]
    assert summary["coarse_mismatched_spikes"] == 0 < summary["coarse_spikes_compared"]


def test_its_bundle_verifies_and_a_damaged_weight_is_found(call, finished, tmp_path):
    folder = shutil.copytree(finished / "seed-0/bundles/coarse", tmp_path / "b")
    assert call("verify", str(folder))[0] == 0
    shutil.copy(finished / "seed-0/bundles/onnx/whole.onnx", folder / "whole.npz")
    assert call("verify", str(folder))[0] == 1


@pytest.mark.usefixtures("finished")
def test_energy_is_counted_on_its_bundle(call):
    code, out, err = call("energy", "run/seed-0/bundles/coarse", "--json")
    assert code == 0, err
    assert "spikes fired by the coarse runtime (whole.npz)" in err
    with_onnx = call("energy", "run/seed-0/bundles/onnx", "--json")[1]
    assert json.loads(out)["samples"] == json.loads(with_onnx)["samples"]


def test_the_command_line_has_its_options_and_passes_them_on(call, finished):
    text = call("export", "--help")[1]
    assert "--steps-per-unit" in text
    assert "For coarse: Weights are multiples of 1/N." in text
    student = "run/seed-0/student/checkpoint.safetensors"
    code, _, err = call("export", student, "--target", "coarse", "--steps-per-unit", "8", "--output", "out")
    assert code == 0, err
    assert json.loads((finished.parent / "out/coarse/manifest.json").read_text())["quantization"]["steps_per_unit"] == 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--target", "coarse", "--steps-per-unit", "0"),
            "steps_per_unit: 0 found, input should be greater than or equal to 1",
        ),
        (("--target", "coarse", "--streaming"), "streaming: no option of coarse; add the target onnx, or leave it out"),
        (("--target", "onnx", "--order", "backwards"), "order: no option of onnx; add the target coarse, or leave it out"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_one_line(call, finished, arguments, message):
    code, _, err = call("export", "run/seed-0/student/checkpoint.safetensors", "--output", "no", *arguments)
    assert code == 2
    assert message in err
    assert not (finished.parent / "no").exists()


def test_what_it_cannot_export_is_refused_before_any_training(call, site):
    (site / "soft.toml").write_text(SMALL.replace('reset = "hard"', 'reset = "soft"') + TABLE)
    code, _, err = call("run", "soft.toml", "--output", "soft")
    assert code == 2
    assert "node act1: a soft reset has no coarse form" in err
    assert not (site / "soft").exists()


def test_a_recipe_with_a_wrong_option_of_it_is_refused_by_the_options_name(call, site):
    (site / "wrong.toml").write_text(SMALL + TABLE.replace("backwards", "sideways"))
    code, _, err = call("train", "wrong.toml", "--output", "wrong")
    assert code == 2
    assert "export: order: 'sideways' found" in err


def test_doctor_lists_it(call):
    assert "c, coarse, lava, nir, onnx" in call("doctor")[1]
