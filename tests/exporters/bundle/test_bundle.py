"""Bundles on disk: written as a whole, read with suspicion. A damaged or hostile one ends in a message that names the place."""

import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.graph import interpreter
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.bundle import Manifest, read_bundle, sample_of, write_bundle
from neurodeploy_exporters.bundle.seal import digest_of


def changed(folder: Path, change) -> None:
    """Rewrite the manifest after `change(content)`."""
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content | {"digest": digest_of(content)}))


def setting(*keys, value):
    """A change that puts `value` at the place `keys`."""

    def change(content):
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value

    return change


def removing(*keys):
    def change(content):
        for key in keys[:-1]:
            content = content[key]
        del content[keys[-1]]

    return change


# --- reading and writing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["onnx", "lava"])
def test_a_written_bundle_is_read_back_as_it_was(bundles, tmp_path, target):
    bundle = read_bundle(bundles[target])
    sample, manifest = bundle.sample(), bundle.manifest
    writers = {piece.file: lambda path: path.write_bytes(b"artefact") for piece in manifest.pieces}
    again = read_bundle(write_bundle(tmp_path / "b", manifest.model_copy(update={"files": {}}), writers, sample))
    of_the_files = {"files": {}, "sizes": {}, "digest": ""}
    assert again.manifest.model_copy(update=of_the_files) == manifest.model_copy(update=of_the_files)
    assert set(again.manifest.files) == {*writers, "sample.npz"}
    assert (tmp_path / "b" / "sample.npz").read_bytes() == (bundles[target] / "sample.npz").read_bytes()
    for name, spikes in again.sample().spikes.items():
        assert np.array_equal(spikes, sample.spikes[name])


def test_the_sample_is_what_the_interpreter_computes(graph, digits):
    sample = sample_of(graph("resnet"), digits[0][:3], steps=6)
    tensors = interpreter.run(graph("resnet"), digits[0][:3], steps=6)
    assert set(sample.spikes) == set(graph("resnet").spiking)
    for name, spikes in sample.spikes.items():
        assert spikes.dtype == np.uint8
        assert np.array_equal(spikes, tensors[name])
    assert np.array_equal(sample.logits, tensors["logits"])
    assert np.array_equal(sample.inputs, digits[0][:3])


def test_the_chain_runs_in_order_whatever_the_order_in_the_file(bundle):
    folder = bundle("onnx")
    changed(folder, lambda content: content["pieces"].reverse())
    manifest = read_bundle(folder).manifest
    assert [piece.name for piece in manifest.chain] == ["encoder", "body", "head"]
    assert manifest.whole is not None
    assert (manifest.input_name, manifest.output_name) == ("input", "logits")


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), KeyboardInterrupt(), RuntimeError("a fault")])
def test_a_writer_that_fails_leaves_nothing_and_the_older_bundle_as_it_was(bundle, tmp_path, error):
    folder = bundle("onnx")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    read = read_bundle(folder)

    def fail(path):
        path.write_bytes(b"half of it")
        raise error

    for place in (folder, tmp_path / "new"):
        with pytest.raises(BaseException, match=r"Input/output error|^$|a fault"):
            write_bundle(place, read.manifest, {"body.onnx": fail}, read.sample())
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


# --- manifests that others wrote ---------------------------------------------------------------------------------------


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "odd" / "manifest.json").mkdir(parents=True)
    for name in (".", "absent", "file", "odd"):
        with pytest.raises(
            UserError, match=r"no manifest\.json found, so this is no bundle; make one with `neurodeploy export`"
        ):
            read_bundle(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "content: Invalid JSON: EOF"),
        (b"{", "content: Invalid JSON: EOF"),
        (b"not json", "content: Invalid JSON: expected"),
        (b"[]", "content: Input should be an object"),
        (b"null", "content: Input should be an object"),
        (b"{}", "target: Field required"),
        (b"[" * 100_000, "content: Invalid JSON"),
    ],
)
def test_a_manifest_that_is_no_json_object_is_refused(bundle, content, message):
    path = bundle("onnx") / "manifest.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"not a valid manifest: {message}") as error:
        read_bundle(path.parent)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("version", [0, 1, 2.5, "2", None])
def test_a_manifest_of_another_version_is_refused(bundle, version):
    folder = bundle("onnx")
    changed(folder, setting("schema_version", value=version))
    with pytest.raises(UserError, match="schema_version: Input should be 2"):
        read_bundle(folder)


@pytest.mark.parametrize(
    "field",
    [
        "target",
        "model",
        "created_by",
        "input_shape",
        "timed_input",
        "classes",
        "steps",
        "latency_steps",
        "pieces",
        "spiking_layers",
        "quantization",
        "accuracy",
        "sample",
    ],
)
def test_a_missing_field_is_named(bundle, field):
    folder = bundle("onnx")
    changed(folder, removing(field))
    with pytest.raises(UserError, match=rf"manifest\.json: not a valid manifest: {field}: Field required"):
        read_bundle(folder)


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("target",), 3),
        (("model",), None),
        (("input_shape",), "1x8x8"),
        (("input_shape",), [1, "eight", 8]),
        (("input_shape",), [1, 8.5, 8]),
        (("timed_input",), "perhaps"),
        (("classes",), 0),
        (("classes",), None),
        (("steps",), 0),
        (("steps",), 4.5),
        (("steps",), -4),
        (("latency_steps",), -1),
        (("pieces",), []),
        (("pieces",), {}),
        (("pieces", 0, "name"), "tail"),
        (("pieces", 0, "format"), 3),
        (("pieces", 0, "inputs"), []),
        (("pieces", 0, "outputs"), "logits"),
        (("spiking_layers",), []),
        (("spiking_layers", 0, "part"), "whole"),
        (("spiking_layers", 0, "shape"), 4),
        (("quantization",), "none"),
        (("accuracy",), {"float": {"correct": -1, "samples": 3}}),
        (("accuracy",), {"float": {"correct": 1, "samples": 0}}),
        (("accuracy",), {"float": 0.9}),
        (("sample", "samples"), 0),
        (("sample", "logits_atol"), -1),
        (("sample", "logits_atol"), "nan"),
        (("sample", "logits_atol"), float("inf")),
        (("sample", "allowed_mismatched_spikes"), -1),
        (("notes",), "a note"),
        (("files",), ["body.onnx"]),
        (("files", "body.onnx"), 3),
    ],
)
def test_a_value_of_a_wrong_kind_is_refused_by_its_place(bundle, keys, value):
    folder = bundle("onnx")
    changed(folder, setting(*keys, value=value))
    place = r"\.".join(map(str, keys)).replace("body.onnx", r"body\.onnx")
    with pytest.raises(UserError, match=rf"not a valid manifest: {place}") as error:
        read_bundle(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("place", [(), ("pieces", 0), ("spiking_layers", 0), ("sample",)])
def test_an_unknown_field_is_refused(bundle, place):
    folder = bundle("onnx")
    changed(folder, setting(*place, "surprise", value=1))
    with pytest.raises(UserError, match="surprise: Extra inputs are not permitted"):
        read_bundle(folder)


OUTSIDE = (
    "../x",
    "..",
    ".",
    "",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "C:\\x",
    "~",
    ".hidden",
    "a\nb",
    "a\x00b",
    "x" * 101,
    "körper.net",
)


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("place", ["piece", "sample", "files"])
def test_a_file_name_that_could_lead_out_of_the_folder_is_refused(bundle, place, name):
    folder = bundle("onnx")
    keys = {"piece": ("pieces", 2, "file"), "sample": ("sample", "file"), "files": ("files", name)}[place]
    changed(folder, setting(*keys, value="0" * 64 if place == "files" else name))
    with pytest.raises(UserError, match=r"not a valid manifest: .*String should match pattern") as error:
        read_bundle(folder)
    assert "\n" not in str(error.value)


@given(st.text(max_size=120))
def test_only_a_plain_name_without_folders_is_a_file_name(name):
    piece = {"name": "whole", "format": "onnx", "inputs": ["input"], "outputs": ["logits"]}
    content = {
        **{"target": "onnx", "model": "m", "created_by": "t", "input_shape": [1], "timed_input": False, "classes": 1},
        **{"steps": 1, "latency_steps": 0, "pieces": [piece | {"file": name}], "quantization": {}, "accuracy": {}},
        "spiking_layers": [{"name": "n", "shape": [1], "part": "body"}],
        "sample": {"file": "s.npz", "samples": 1, "logits_atol": 0, "allowed_mismatched_spikes": 0},
    }
    try:
        Manifest.model_validate(content)
    except ValueError:
        return
    assert name == os.path.basename(name)  # noqa: PTH119 - a Path would drop a slash at the end
    assert name not in ("", ".", "..")
    assert name.isascii()
    assert name.isprintable()


@pytest.mark.parametrize("name", ["body.onnx", "sample.npz"])
def test_a_file_in_use_without_a_hash_is_refused(bundle, name):
    folder = bundle("onnx")
    changed(folder, removing("files", name))
    with pytest.raises(UserError, match=f"field files: {name} is used by the bundle but not listed"):
        read_bundle(folder)


WHOLE, ENCODER, BODY, HEAD = range(4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["pieces"].append(c["pieces"][BODY]), "pieces: whole, encoder, body, head, body found, each at most once"),
        (setting("pieces", BODY, "name", value="encoder"), "pieces: whole, encoder, encoder, head found, each at most once"),
        (removing("pieces", ENCODER), "pieces: body reads act1, which no piece before it makes"),
        (removing("pieces", BODY), "pieces: head reads act3, which no piece before it makes"),
        (removing("pieces", HEAD), "pieces: body ends with act3, a head that makes the logits expected"),
        (setting("pieces", ENCODER, "outputs", value=["elsewhere"]), "pieces: body reads act1, which no piece before it makes"),
        (setting("pieces", ENCODER, "inputs", value=["other"]), "pieces: encoder reads other, which no piece before it makes"),
        (setting("pieces", BODY, "inputs", value=["act1", "act3"]), "pieces: body reads act3, which no piece before it makes"),
        (setting("pieces", HEAD, "outputs", value=["answer"]), "pieces: head ends with answer, a head that makes the logits"),
        (setting("pieces", WHOLE, "outputs", value=["logits", "more"]), "pieces: whole ends with logits, more"),
        (setting("pieces", WHOLE, "inputs", value=["input", "act1"]), "pieces: whole reads act1, which no piece before it"),
    ],
)
def test_pieces_that_do_not_fit_together_are_refused_by_name(bundle, change, message):
    folder = bundle("onnx")
    changed(folder, change)
    with pytest.raises(UserError, match=f"not a valid manifest: content: Value error, {message}"):
        read_bundle(folder)


# --- samples that others wrote -----------------------------------------------------------------------------------------


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def archive(path: Path, members: dict[str, bytes], **options) -> None:
    with zipfile.ZipFile(path, "w", **options) as file:
        for name, data in members.items():
            file.writestr(name, data)


def npy(array: np.ndarray, **options) -> bytes:
    memory = io.BytesIO()
    np.save(memory, array, **options)
    return memory.getvalue()


@pytest.fixture
def opened(bundle):
    """A bundle that may be changed, its sample's path and the sample's arrays."""
    read = read_bundle(bundle("lava"))
    path = read.path("sample.npz")
    with np.load(path, allow_pickle=False) as arrays:
        return read, path, dict(arrays)


def test_a_manifest_that_is_no_text_is_refused(bundle):
    path = bundle("onnx") / "manifest.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"manifest\.json: no UTF-8 text found, a bundle's manifest expected"):
        read_bundle(path.parent)


@pytest.mark.parametrize("name", ["inputs", "logits", "spikes/act2", "stray"])
def test_objects_in_a_sample_are_refused_and_never_unpickled(opened, tmp_path, name):
    read, path, arrays = opened
    trap = tmp_path / "unpickled"
    objects = np.array([Bomb(trap)], object)
    members = {key: npy(array) for key, array in arrays.items()} | {name: npy(objects, allow_pickle=True)}
    archive(path, {f"{key}.npy": data for key, data in members.items()})
    with pytest.raises(UserError, match=r"sample\.npz: not a readable \.npz file: damaged, no array at all, or Python objects"):
        read.sample()
    path.write_bytes(pickle.dumps(Bomb(trap)))
    with pytest.raises(UserError, match=r"sample\.npz: not a readable \.npz file"):
        read.sample()
    assert not trap.exists()
    pickle.loads(pickle.dumps(Bomb(trap)))
    assert trap.exists()  # the trap works


def test_a_sample_cut_anywhere_is_refused(opened):
    read, path, _ = opened
    data = path.read_bytes()
    for size in (0, 1, 4, 30, len(data) // 2, len(data) - 30, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(UserError, match=r"sample\.npz: not a readable \.npz file") as error:
            read.sample()
        assert "\n" not in str(error.value)


def test_a_missing_sample_a_folder_and_a_single_array_are_refused(opened):
    read, path, arrays = opened
    path.unlink()
    with pytest.raises(UserError, match=r"sample\.npz: no such file"):
        read.sample()
    path.mkdir()
    with pytest.raises(UserError, match=r"sample\.npz: not a file, a \.npz file expected"):
        read.sample()
    path.rmdir()
    path.write_bytes(npy(arrays["inputs"]))
    with pytest.raises(UserError, match=r"sample\.npz: a single array found"):
        read.sample()


@pytest.mark.parametrize("name", ["inputs", "logits"])
def test_a_missing_array_is_named(opened, name):
    read, path, arrays = opened
    del arrays[name]
    np.savez(path, **arrays)
    with pytest.raises(UserError, match=rf"sample\.npz: array {name} is missing"):
        read.sample()


@pytest.mark.parametrize("dtype", ["complex64", "S4", "U4", "datetime64[s]", [("a", "i4"), ("b", "f8")]])
@pytest.mark.parametrize("name", ["inputs", "logits", "spikes/act2"])
def test_an_array_of_no_numbers_is_refused(opened, name, dtype):
    read, path, arrays = opened
    arrays[name] = np.zeros(arrays[name].shape, dtype)
    np.savez(path, **arrays)
    with pytest.raises(UserError, match=rf"sample\.npz: array {name}: .* found, numbers expected"):
        read.sample()


def test_a_member_that_is_no_array_is_refused(opened):
    read, path, arrays = opened
    members = {f"{name}.npy": npy(array) for name, array in arrays.items()}
    archive(path, members | {"logits.npy": b"ten numbers"})
    with pytest.raises(UserError, match=r"sample\.npz: logits is no \.npy file"):
        read.sample()


@pytest.mark.parametrize("header", ["{'descr': '<f4'", "{'descr': '<f4', 'shape': (((", "(" * 200, "{'descr': ['<f4', 3]}"])
def test_an_array_with_a_damaged_header_is_refused(opened, header):
    read, path, arrays = opened
    text = header.encode().ljust(117) + b"\n"
    damaged = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(40)
    archive(path, {f"{name}.npy": npy(array) for name, array in arrays.items()} | {"logits.npy": damaged})
    with pytest.raises(UserError, match=r"sample\.npz: not a readable \.npz file") as error:
        read.sample()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("offset", "value"),
    [(6, 255), (8, 1), (8, 0x20), (8, 0x40), (10, 99), (10, 12), (10, 14)],
    ids=["version", "password", "patch", "encryption", "unknown method", "bzip2", "lzma"],
)
def test_an_archive_packed_in_a_way_that_python_cannot_read_is_refused(opened, offset, value):
    read, path, _ = opened
    data = bytearray(path.read_bytes())
    entry, content = data.index(b"PK\x01\x02"), data.index(b"PK\x03\x04")  # in the directory, and before the array
    for place in (entry + offset, content + offset - 2):
        data[place : place + 2] = value.to_bytes(2, "little")
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"sample\.npz: not a readable \.npz file: \w") as error:
        read.sample()
    assert "\n" not in str(error.value)
