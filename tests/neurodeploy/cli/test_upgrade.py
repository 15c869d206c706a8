"""`neurodeploy upgrade`: files of version 0.1 in today's form, and the same in all that they say; `neurodeploy schema`."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from jsonschema import Draft202012Validator

from neurodeploy.app.schemas import FORMATS, schema_of
from neurodeploy.io.files import sole_writer
from neurodeploy.training import checkpoint
from neurodeploy.training.results import read
from neurodeploy_exporters.bundle import read_bundle
from neurodeploy_exporters.bundle.sample import read_sample
from neurodeploy_exporters.bundle.seal import seal
from neurodeploy_exporters.target import find
from neurodeploy_exporters.verify import verify
from neurodeploy_exporters.verify.conversion import convert

OLD = Path(__file__).parents[2] / "files" / "v0.1"


@pytest.fixture
def old(tmp_path):
    shutil.copytree(OLD, tmp_path / "old")
    return tmp_path / "old"


def test_a_run_of_version_0_1_is_written_again_and_is_the_same_run(cli, old):
    before = read(old / "run" / "results.json")
    networks = {path: checkpoint.read(path) for path in sorted((old / "run").glob("seed-*/*/checkpoint.safetensors"))}
    outcome = cli("upgrade", old)
    assert outcome.code == 0, outcome.err
    assert outcome.out.count("checkpoint written again") >= len(networks) == 3
    assert "report.json: report of schema version 2, read as it is" in outcome.out
    assert outcome.out.replace("\n", " ").count("bundle converted from schema version 2") == 6
    assert read(old / "run" / "results.json") == before
    for path, (header, groups) in networks.items():
        again, others = checkpoint.read(path)
        assert again == header
        assert {group: list(members) for group, members in groups.items()} == {g: list(m) for g, m in others.items()}
        for group, members in groups.items():
            assert all(torch.equal(value, others[group][name]) for name, value in members.items())
    again = cli("upgrade", old)
    assert again.code == 0
    assert "written again" not in again.out
    assert "converted" not in again.out


@pytest.mark.parametrize("place", ["run/seed-0/bundles/onnx", "run/seed-0/bundles/lava", "more/nir", "tuned/lava"])
def test_a_bundle_of_schema_2_gets_what_todays_verification_compares_and_keeps_all_it_had(old, place):
    folder = old / place
    before, files = read_bundle(folder), {path.name: path.read_bytes() for path in folder.iterdir()}
    assert convert(folder)
    after = read_bundle(folder)
    assert (after.manifest.schema_version, bool(after.manifest.digest)) == (3, True)
    assert before.manifest.notes == after.manifest.notes[:-1]
    assert after.manifest.notes[-1].startswith("Converted from schema 2: ")
    kept = before.manifest.model_dump(exclude={"schema_version", "notes", "files", "sizes", "digest", "sample"})
    assert kept == after.manifest.model_dump(exclude={"schema_version", "notes", "files", "sizes", "digest", "sample"})
    changed = {path.name for path in folder.iterdir() if path.read_bytes() != files[path.name]}
    assert changed == {"manifest.json", "sample.npz"}
    assert {path.name for path in folder.iterdir()} == files.keys()
    sample, sample_before = after.sample(), before_sample(files["sample.npz"], old)
    assert np.array_equal(sample.inputs, sample_before.inputs)
    assert np.array_equal(sample.logits, sample_before.logits)
    assert sample.constants
    assert bool(sample.states) == bool(after.manifest.sample.mutations) == after.manifest.is_exact
    outcome = verify(folder)
    assert outcome.passed, outcome.findings
    assert not outcome.notes
    assert not convert(folder)


def before_sample(content: bytes, folder: Path):
    (folder / "before.npz").write_bytes(content)
    return read_sample(folder / "before.npz")


def test_a_converted_bundle_shows_what_it_did_not_before(old):
    folder = old / "run" / "seed-0" / "bundles" / "onnx"
    convert(folder)
    read = read_bundle(folder)
    values = next(iter(find("onnx").formats["onnx"].values(read, read.manifest.chain[-1])))
    values.change(folder / "head.onnx", 0)
    seal(folder)
    assert any(f"{values.layer}.{values.kind}: changed" in finding for finding in verify(folder).findings)


def test_a_bundle_that_does_not_verify_is_not_converted_and_left_as_it_was(cli, old):
    folder = old / "run" / "seed-0" / "bundles" / "onnx"
    path = folder / "body.onnx"
    path.write_bytes(path.read_bytes() + b" ")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    outcome = cli("upgrade", folder)
    assert outcome.code == 1
    assert "does not verify, so it is left as it was" in outcome.err.replace("\n", " ")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path / "absent", "absent: no such file or folder"),
        (lambda path: path, "nothing that this toolkit writes"),
        (lambda path: damaged(path / "checkpoint.safetensors"), "checkpoint.safetensors: not a readable checkpoint"),
        (lambda path: damaged(path / "results.json"), "results.json: "),
    ],
)
def test_what_cannot_be_upgraded_is_named_and_left_as_it_was(cli, tmp_path, make, message):
    path = make(tmp_path)
    outcome = cli("upgrade", path)
    assert outcome.code == 2
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
    assert not path.is_file() or path.read_bytes() == b"damaged"


def damaged(path):
    path.write_bytes(b"damaged")
    return path


def test_a_run_that_is_being_trained_is_not_touched(cli, old):
    with sole_writer(old / "run" / "seed-0" / "student"):
        outcome = cli("upgrade", old / "run" / "seed-0" / "student" / "checkpoint.safetensors")
    assert outcome.code == 2
    assert "another process is training here" in outcome.err


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_has_a_json_schema(cli, name):
    outcome = cli("schema", name)
    assert outcome.code == 0
    content = json.loads(outcome.out)
    assert content == json.loads(json.dumps(schema_of(name)))
    assert content["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert content.get("properties") or content.get("$ref") or content.get("$defs")


@pytest.mark.parametrize(("name", "file"), [("results", "run/results.json"), ("recipe", "run/recipe.json")])
def test_a_schema_describes_the_files_that_are_written(cli, old, name, file):
    validator = Draft202012Validator(schema_of(name))
    cli("upgrade", old)
    validator.validate(json.loads((old / file).read_text()))


def test_the_schema_of_a_comparison_describes_one_and_refuses_another_unit():
    validator = Draft202012Validator(schema_of("comparison"))
    content = json.loads((OLD.parents[1] / "energy" / "golden" / "comparison.json").read_text())
    validator.validate(content)
    assert not validator.is_valid(content | {"unit": "per batch"})


def test_formats_are_listed_and_an_unknown_one_is_refused(cli):
    assert cli("schema").out.count("\n") == len(FORMATS)
    outcome = cli("schema", "pickle")
    assert outcome.code == 2
    assert "pickle: no format of this toolkit; there are: recipe, " in outcome.err
