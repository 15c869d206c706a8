"""Weights in a file beside the models: shared by all of them, hashed and verified; a missing, short or other file is named."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import neurodeploy as nd
from neurodeploy.graph.transforms import differences
from neurodeploy.io.errors import UserError
from neurodeploy_exporters import lava
from neurodeploy_exporters.bundle import read_bundle
from neurodeploy_exporters.onnx import Session, export, model, target
from neurodeploy_exporters.onnx.graph import read_graph
from neurodeploy_exporters.verify import verify
from neurodeploy_exporters.verify.artefact import read_artefact


@pytest.fixture(scope="module")
def made(graph, digits, tmp_path_factory) -> tuple[Path, Path]:
    """Bundles of one network, with the weights outside and inside."""
    root = tmp_path_factory.mktemp("external")
    return tuple(
        export(graph("resnet"), digits[0][:3], root / name, name="n", quantize="exact", step=True, external_data=outside)
        for name, outside in (("outside", True), ("inside", False))
    )


@pytest.fixture
def outside(made, tmp_path) -> Path:
    return Path(shutil.copytree(made[0], tmp_path / "b"))


def test_it_is_verified_counted_and_read_as_with_the_weights_inside(made, digits):
    outside, inside = made
    assert verify(outside).passed
    assert (outside / "whole.onnx").stat().st_size < (inside / "whole.onnx").stat().st_size
    assert differences(read_graph(outside / "whole.onnx"), read_graph(inside / "whole.onnx")) == ()
    assert nd.energy(outside).total.spikes == nd.energy(inside).total.spikes
    answers = [Session.of_bundle(folder).answer(digits[0][:9], steps=4).logits for folder in made]
    assert np.array_equal(*answers)


def test_all_models_share_one_file_that_the_manifest_lists(made):
    outside, inside = made
    manifest = read_bundle(outside).manifest
    assert manifest.weights_file == "weights.data"
    assert "weights.data" in manifest.files
    assert read_bundle(inside).manifest.weights_file is None
    large = {
        tensor.name: tensor.raw_data
        for tensor in onnx.load(inside / "whole.onnx").graph.initializer
        if len(tensor.raw_data) >= 1024
    }
    pages = sum(-(-len(data) // 4096) * 4096 for data in large.values())
    assert (outside / "weights.data").stat().st_size == pages


def test_onnxs_own_loader_and_reference_find_the_weights(made):
    outside, inside = (
        ReferenceEvaluator(onnx.load(folder / "head.step.onnx")).run(None, _zeros(folder / "head.step.onnx")) for folder in made
    )
    assert all(np.array_equal(one, other) for one, other in zip(outside, inside, strict=True))


def _zeros(path: Path) -> dict[str, np.ndarray]:
    inputs = onnx.load(path, load_external_data=False).graph.input
    return {one.name: np.zeros([dim.dim_value for dim in one.type.tensor_type.shape.dim], np.float32) for one in inputs}


def test_a_missing_file_is_named(outside):
    (outside / "weights.data").unlink()
    path = outside / "weights.data"
    assert f"{path}: missing" in verify(outside).findings
    with pytest.raises(UserError, match=rf"^{path}: missing; it holds the weights of whole.onnx, keep both in one folder$"):
        Session(outside / "whole.onnx")
    with pytest.raises(UserError, match=rf"^{path}: missing"):
        read_artefact(outside)


def test_a_model_without_its_folder_names_what_it_lacks(outside, tmp_path):
    alone = Path(shutil.copy(outside / "whole.onnx", tmp_path / "alone.onnx"))
    with pytest.raises(UserError, match=rf"^{tmp_path / 'weights.data'}: missing; it holds the weights of alone.onnx"):
        Session(alone)


def test_other_weights_of_the_same_size_are_a_finding(outside):
    path = outside / "weights.data"
    numbers = np.frombuffer(path.read_bytes(), np.float32)
    path.write_bytes((-numbers).tobytes())
    findings = verify(outside).findings
    assert f"{path}: changed, its SHA-256 is not the manifest's" in findings
    assert any("spikes differ from the sample" in finding for finding in findings)
    with pytest.raises(UserError, match=rf"^{path}: changed"):
        read_artefact(outside)


def test_a_file_that_is_too_short_is_named_with_both_sizes(outside):
    path = outside / "weights.data"
    path.write_bytes(path.read_bytes()[:-4096])
    with pytest.raises(UserError, match=rf"^{path}: \d+ bytes found, at least \d+ expected by whole.onnx$"):
        Session(outside / "whole.onnx")


ENTRIES = {
    "another folder": ("location", "../weights.data", r"in the file '../weights.data', one in the same folder expected"),
    "an absolute path": ("location", "/etc/passwd", "in the file '/etc/passwd', one in the same folder expected"),
    "a negative offset": ("offset", "-4096", "offset and length '-4096'"),
    "an offset of many digits": ("offset", "9" * 5000, "offset and length"),
    "an offset behind the end": ("offset", str(1 << 50), "bytes found, at least"),
    "another length": ("length", "4", r"4 bytes found, as many as their shape \[.*\] asks for expected"),
    "no length": ("length", None, "offset and length"),
}


@pytest.mark.parametrize("case", ENTRIES)
def test_what_a_model_says_of_its_weights_is_checked(outside, case):
    key, value, message = ENTRIES[case]
    path = outside / "whole.onnx"
    changed = onnx.load(path, load_external_data=False)
    tensor = next(one for one in changed.graph.initializer if one.data_location == onnx.TensorProto.EXTERNAL)
    kept = {entry.key: entry.value for entry in tensor.external_data} | {key: value}
    del tensor.external_data[:]
    for name, text in kept.items():
        if text is not None:
            tensor.external_data.add(key=name, value=text)
    path.write_bytes(changed.SerializeToString())
    with pytest.raises(UserError, match=message) as error:
        Session(path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < len(str(path)) + 300


@pytest.mark.parametrize(("kind", "dims"), [(99, None), (8, None), (1, [-1, 4]), (1, [1 << 40, 1 << 40])])
def test_weights_of_an_unknown_type_or_shape_are_refused(outside, kind, dims):
    path = outside / "whole.onnx"
    changed = onnx.load(path, load_external_data=False)
    tensor = next(one for one in changed.graph.initializer if one.data_location == onnx.TensorProto.EXTERNAL)
    tensor.data_type = kind
    if dims is not None:
        tensor.dims[:] = dims
    path.write_bytes(changed.SerializeToString())
    with pytest.raises(UserError, match=rf"^{path}: "):
        Session(path)


def test_from_a_limit_on_it_is_done_without_being_asked_for(graph, digits, tmp_path, monkeypatch):
    monkeypatch.setattr(target, "LARGEST_FILE", 1000)
    folder = export(graph("resnet"), digits[0][:2], tmp_path / "b", name="n")
    assert (folder / "weights.data").is_file()
    assert verify(folder).passed


def test_a_host_model_that_no_file_holds_is_refused_with_what_to_do(graph, digits, tmp_path, monkeypatch):
    monkeypatch.setattr(model, "LARGEST_FILE", 400)
    with pytest.raises(
        UserError, match=r"n-encoder: .* GB of weights found, and an ONNX file holds .*; export for the target onnx"
    ):
        lava.export(graph("conv"), digits[0][:2], tmp_path / "b", name="n")
    assert not (tmp_path / "b").exists()
