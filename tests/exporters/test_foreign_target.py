"""A target of another package is a full citizen: recipes, run, export, verify, energy and the help know it and its options."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from neurodeploy.recipe import text_of

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
    (site / "small.toml").write_text(SMALL + TABLE)
    done = call(site, "run", "small.toml", "--output", "run", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    return site / "run"


def call(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    command = [sys.executable, "-m", "neurodeploy", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_a_run_exports_to_it_with_the_options_of_its_table_and_counts_what_it_fires(finished):
    manifest = json.loads((finished / "seed-0/bundles/coarse/manifest.json").read_text())
    assert manifest["quantization"] == {"kind": "coarse", "steps_per_unit": 32}
    summary = json.loads((finished / "summary.json").read_text())["verify"]
    assert summary["coarse_mismatched_spikes"] == 0 < summary["coarse_spikes_compared"]


def test_its_bundle_verifies_and_a_damaged_weight_is_found(finished, tmp_path):
    folder = shutil.copytree(finished / "seed-0/bundles/coarse", tmp_path / "b")
    assert call(finished.parent, "verify", str(folder)).returncode == 0
    shutil.copy(finished / "seed-0/bundles/onnx/whole.onnx", folder / "whole.npz")
    assert call(finished.parent, "verify", str(folder)).returncode == 1


def test_energy_is_counted_on_its_bundle(finished):
    done = call(finished.parent, "energy", "run/seed-0/bundles/coarse", "--json")
    assert done.returncode == 0, done.stderr
    assert "spikes fired by the coarse runtime (whole.npz)" in done.stderr
    with_onnx = call(finished.parent, "energy", "run/seed-0/bundles/onnx", "--json")
    assert json.loads(done.stdout)["samples"] == json.loads(with_onnx.stdout)["samples"]


def test_the_command_line_has_its_options_and_passes_them_on(finished):
    student, site = "run/seed-0/student/checkpoint.safetensors", finished.parent
    text = call(site, "export", "--help").stdout
    assert "--steps-per-unit" in text
    assert "For coarse: Weights are multiples of 1/N." in text
    done = call(site, "export", student, "--target", "coarse", "--steps-per-unit", "8", "--output", "out")
    assert done.returncode == 0, done.stderr
    assert json.loads((site / "out/coarse/manifest.json").read_text())["quantization"]["steps_per_unit"] == 8


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
def test_options_that_do_not_fit_are_refused_in_one_line(finished, arguments, message):
    done = call(finished.parent, "export", "run/seed-0/student/checkpoint.safetensors", "--output", "no", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert not (finished.parent / "no").exists()


def test_what_it_cannot_export_is_refused_before_any_training(site):
    (site / "soft.toml").write_text(SMALL.replace('reset = "hard"', 'reset = "soft"') + TABLE)
    done = call(site, "run", "soft.toml", "--output", "soft")
    assert done.returncode == 2
    assert "node act1: a soft reset has no coarse form" in done.stderr
    assert not (site / "soft").exists()


def test_a_recipe_with_a_wrong_option_of_it_is_refused_by_the_options_name(site):
    (site / "wrong.toml").write_text(SMALL + TABLE.replace("backwards", "sideways"))
    done = call(site, "train", "wrong.toml", "--output", "wrong")
    assert done.returncode == 2
    assert "export: order: 'sideways' found" in done.stderr


def test_doctor_lists_it(site):
    assert "coarse, lava, nir, onnx" in call(site, "doctor").stdout
