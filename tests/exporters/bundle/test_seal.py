"""Nothing in a bundle is unhashed: claims, tolerances, sizes and the sample; and no manifest sets its own pass mark."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from neurodeploy.io.errors import UserError
from neurodeploy_exporters.bundle import read_bundle
from neurodeploy_exporters.bundle.seal import seal
from neurodeploy_exporters.verify import verify
from neurodeploy_exporters.verify.artefact import read_artefact


def rewritten(folder: Path, change, *, sealed: bool) -> Path:
    """A bundle whose manifest was changed, with or without hashes made anew."""
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    if sealed:
        seal(folder)
    return folder


def claim(*place_and_value):
    """A change that sets a claim at a place of the manifest."""
    *place, last, value = place_and_value

    def change(content):
        for key in place:
            content = content[key]
        content[last] = value

    return change


def refused(folder: Path) -> str:
    """Why verification does not pass, in one line."""
    try:
        findings = verify(folder).findings
    except UserError as error:
        findings = (str(error),)
    assert findings
    assert all("\n" not in finding for finding in findings)
    return " | ".join(findings)


CLAIMS = [
    claim("model", "another"),
    claim("created_by", "neurodeploy 9"),
    claim("notes", ["Trust me."]),
    claim("accuracy", {"exported": {"correct": 500, "samples": 500}}),
    claim("sample", "logits_atol", 0.001),
    claim("sample", "samples", 7),
    claim("sizes", "sample.npz", 1),
    claim("quantization", "weights", "float64"),
    claim("provenance", {"recipe": "0" * 64}),
]


@pytest.mark.parametrize("change", CLAIMS)
def test_a_claim_that_was_changed_alone_is_seen_by_the_digest(bundle, change):
    folder = rewritten(bundle("onnx"), change, sealed=False)
    for read in (verify, read_artefact):
        with pytest.raises(UserError, match=r"manifest.json: field digest: not that of the other fields"):
            read(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            claim("sample", "logits_atol", 1e300),
            r"sample.logits_atol: 1e\+300 found, at most 0.0001 expected of the kind 'exact'",
        ),
        (claim("sample", "allowed_mismatched_spikes", 1), r"allowed_mismatched_spikes: 1 found, at most 0 of 9,216"),
        (claim("accuracy", {"exported": {"correct": 5000, "samples": 500}}), r"correct: 5000 found, 0 to 500 expected"),
        (claim("agreement", "mismatch_rate", 0.5), r"mismatch_rate: 0.5 found, 0 as of the two counts expected"),
        (claim("agreement", "mismatched_spikes", 10**9), r"mismatched_spikes: 1000000000 found, 0 to 9216 expected"),
        (claim("agreement", "samples", 60), r"agreement.samples: 60 found, at most the 6 of the sample expected"),
        (claim("agreement", "spikes_compared", 1), r"agreement.spikes_compared: 1 found, 9,216 as of 6 samples expected"),
        (claim("sample", "correct", 6), r"sample.correct: 6 found, None as of the sample's labels expected"),
        (claim("further", 1), r"further: Extra inputs are not permitted"),
        (claim("schema_version", 4), r"schema_version: Input should be 2 or 3"),
    ],
)
def test_a_claim_that_cannot_be_so_is_refused_even_with_hashes_made_anew(bundle, change, message):
    folder = rewritten(bundle("onnx"), change, sealed=True)
    assert re.search(message, refused(folder)), refused(folder)
    with pytest.raises(UserError, match=message):
        read_artefact(folder)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_none_is_refused_wherever_it_is(bundle, number):
    folder = bundle("onnx")
    path = folder / "manifest.json"
    text = path.read_text()
    path.write_text(text.replace('"kind": "exact"', f'"kind": "exact", "more": {number}'))
    with pytest.raises(UserError, match=r"manifest.json: not a valid manifest: .*finite number expected"):
        read_bundle(folder)


def test_a_field_that_is_said_twice_is_refused(bundle):
    folder = bundle("onnx")
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"target": "onnx",', '"target": "lava", "target": "onnx",'))
    with pytest.raises(UserError, match=r"not a valid manifest: 'target': said twice"):
        read_bundle(folder)


@pytest.mark.parametrize("name", ["whole.onnx", "sample.npz", "manifest.json"])
def test_a_symbolic_link_in_place_of_a_member_is_refused(bundle, tmp_path, name):
    folder = bundle("onnx")
    shutil.move(folder / name, tmp_path / name)
    (folder / name).symlink_to(tmp_path / name)
    assert "a symbolic link, a file expected" in refused(folder)
    with pytest.raises(UserError, match="a symbolic link, a file expected"):
        read_artefact(folder)


def test_an_extra_member_is_refused_by_verification_and_by_counting(bundle):
    folder = bundle("lava")
    (folder / "extra.bin").write_bytes(b"x")
    assert refused(folder).endswith("extra.bin: not listed in the manifest")
    with pytest.raises(UserError, match=r"extra.bin: not listed in the manifest; export the bundle again$"):
        read_artefact(folder)


def changed_sample(folder: Path, change) -> Path:
    """A bundle with another sample, and hashes made anew."""
    with np.load(folder / "sample.npz") as file:
        arrays = dict(file)
    change(arrays)
    np.savez(folder / "sample.npz", **arrays)
    seal(folder)
    return folder


def test_an_array_that_no_sample_has_is_refused(bundle):
    folder = changed_sample(bundle("onnx"), lambda arrays: arrays.update(more=np.zeros(3)))
    assert "array more: not one of a sample's" in refused(folder)


@pytest.mark.parametrize("name", ["inputs", "logits"])
def test_a_value_that_is_no_number_is_refused_by_its_place(bundle, name):
    def broken(arrays):
        arrays[name].reshape(-1)[3] = np.nan

    folder = changed_sample(bundle("lava"), broken)
    assert f"array {name}: values that are not finite found, at (0, " in refused(folder)
    with pytest.raises(UserError, match="values that are not finite"):
        read_artefact(folder)


def test_a_sample_in_another_order_is_refused(bundle):
    def reversed_inputs(arrays):
        arrays["inputs"] = arrays["inputs"][::-1]

    assert "spikes differ from the sample" in refused(changed_sample(bundle("onnx"), reversed_inputs))


def mutated(path: Path, change) -> None:
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)
    seal(path.parent)


def last_bit(tensor: str):
    """A change of the last bit of a tensor's first value."""

    def change(model):
        (found,) = (one for one in model.graph.initializer if one.name == tensor)
        values = onnx.numpy_helper.to_array(found).copy()
        values.reshape(-1)[0] = np.nextafter(values.reshape(-1)[0], np.float32(np.inf))
        found.CopyFrom(onnx.numpy_helper.from_array(values, tensor))

    return change


@pytest.mark.parametrize(
    ("target", "file", "tensor"),
    [
        ("onnx", "whole.onnx", "conv1.weight"),
        ("onnx", "body.onnx", "conv3.weight"),
        ("onnx", "head.onnx", "classifier.weight"),
        ("lava", "head.onnx", "classifier.bias"),
    ],
)
def test_the_last_bit_of_a_weight_is_seen_with_hashes_made_anew_and_named(bundle, target, file, tensor):
    folder = bundle(target)
    mutated(folder / file, last_bit(tensor))
    assert f"{folder / file}: tensor {tensor}: changed, in 1 of" in refused(folder)
    with pytest.raises(UserError, match=rf"{file}: tensor {tensor}: changed"):
        read_artefact(folder)


def test_an_operators_attribute_and_a_tensor_that_nobody_reads_are_seen(bundle):
    folder = bundle("onnx")
    mutated(folder / "whole.onnx", lambda model: setattr(model.graph.node[-1], "doc_string", "unread"))
    assert "whole.onnx: operators: changed, in 1 of" in refused(folder)
    folder = bundle("lava")
    unread = onnx.numpy_helper.from_array(np.zeros(3, np.float32), "unread")
    mutated(folder / "head.onnx", lambda model: model.graph.initializer.append(unread))
    assert "head.onnx: tensor unread: not in the sample's constants" in refused(folder)


def test_weights_of_the_other_sign_with_the_widest_tolerances_are_refused(bundle):
    def negated(model):
        for one in model.graph.initializer:
            if one.name.endswith(".weight"):
                one.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(one), one.name))

    folder = bundle("onnx")
    mutated(folder / "whole.onnx", negated)
    for wide in (claim("sample", "logits_atol", 1e300), claim("sample", "allowed_mismatched_spikes", 10**9)):
        rewritten(folder, wide, sealed=True)
    assert "sample.logits_atol" in refused(folder)
    assert "whole.onnx: tensor conv1.weight: changed" in refused(folder)
