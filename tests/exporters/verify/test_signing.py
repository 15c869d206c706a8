"""Whose bundle it is: a signature stands for every byte of it, and for one key."""

import shutil
import sys
from pathlib import Path

import pytest

from neurodeploy.io.errors import Failure, UserError
from neurodeploy_exporters.bundle.seal import SIGNATURE, seal
from neurodeploy_exporters.verify import verify
from neurodeploy_exporters.verify.signing import check_signature, sign


def key_pair(folder: Path, name: str = "key") -> tuple[Path, Path]:
    """PEM files of a private key and of its public key."""
    ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec")
    from cryptography.hazmat.primitives import serialization

    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    key = ec.generate_private_key(ec.SECP256R1())
    pem, kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private.write_bytes(key.private_bytes(pem, kind, serialization.NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture
def keys(tmp_path):
    pytest.importorskip("model_signing")
    return key_pair(tmp_path)


def refused(folder: Path, public: Path) -> str:
    with pytest.raises(Failure) as caught:
        check_signature(folder, public)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("target", ["onnx", "lava"])
def test_a_signed_bundle_verifies_and_says_what_checks_its_signature(bundle, keys, target):
    folder = bundle(target)
    assert sign(folder, keys[0]) == folder / SIGNATURE
    check_signature(folder, keys[1])
    outcome = verify(folder)
    assert outcome.passed, outcome.findings
    assert any("neurodeploy verify --identity" in note for note in outcome.notes)
    moved = folder.rename(folder.with_name("elsewhere"))
    check_signature(moved, keys[1])


def test_a_bundle_that_is_not_signed_is_refused(bundle, keys):
    assert f"not signed, there is no {SIGNATURE} in it" in refused(bundle("onnx"), keys[1])


@pytest.mark.parametrize("member", ["body.onnx", "sample.npz", "manifest.json"])
def test_a_changed_member_is_named_though_all_hashes_were_made_anew(bundle, keys, member):
    folder = bundle("onnx")
    sign(folder, keys[0])
    path = folder / member
    path.write_bytes(path.read_bytes() + b" ")
    if member != "manifest.json":
        seal(folder)
    text = refused(folder, keys[1])
    assert f"not a signature of this bundle by the owner of {keys[1]}" in text
    names = {*text.rpartition(": changed: ")[2].split(", ")}
    assert names == {member, "manifest.json"}


def test_another_key_is_refused(bundle, keys, tmp_path):
    folder, (other, stranger) = bundle("onnx"), key_pair(tmp_path, "other")
    sign(folder, keys[0])
    assert f"by the owner of {stranger}: " in refused(folder, stranger)
    sign(folder, other)
    check_signature(folder, stranger)
    assert f"by the owner of {keys[1]}: " in refused(folder, keys[1])


def test_a_signature_of_another_bundle_is_refused(bundle, keys):
    one, other = bundle("onnx"), bundle("lava")
    shutil.copy(sign(one, keys[0]), other / SIGNATURE)
    assert "whole.onnx" in refused(other, keys[1])


@pytest.mark.parametrize("name", ["extra.txt", ".gitignore", ".git/config", "deep/er/extra.txt"])
def test_an_extra_file_is_named_wherever_it_is(bundle, keys, name):
    folder = bundle("onnx")
    sign(folder, keys[0])
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("?")
    assert refused(folder, keys[1]).endswith(f": extra: {name}")


def test_a_missing_file_and_a_link_are_refused(bundle, keys):
    folder = bundle("onnx")
    sign(folder, keys[0])
    whole = (folder / "whole.onnx").rename(folder.with_name("whole.onnx"))
    assert refused(folder, keys[1]).endswith(": missing: whole.onnx")
    (folder / "whole.onnx").symlink_to(whole)
    refused(folder, keys[1])


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"\xff", b"not json", b'{"verificationMaterial": {}}', b" " * (2 << 20)]
)
def test_what_is_no_signature_is_refused_in_one_line(bundle, keys, content):
    folder = bundle("onnx")
    (folder / SIGNATURE).write_bytes(content)
    assert SIGNATURE in refused(folder, keys[1])


def test_a_damaged_bundle_is_not_signed_and_nothing_is_left_in_it(bundle, keys):
    folder = bundle("onnx")
    (folder / "extra.txt").write_text("?")
    before = {*folder.iterdir()}
    with pytest.raises(UserError, match=r"extra.txt: not listed in the manifest; only a sound bundle is signed"):
        sign(folder, keys[0])
    assert {*folder.iterdir()} == before


def test_a_key_that_is_none_is_named(bundle, keys, tmp_path):
    folder, wrong = bundle("onnx"), tmp_path / "wrong.pem"
    wrong.write_text("no key")
    with pytest.raises(
        UserError, match=r"wrong.pem: a private key in PEM, on an elliptic curve and without a password, expected"
    ):
        sign(folder, wrong)
    with pytest.raises(UserError, match=r"absent.pem: cannot be read"):
        sign(folder, tmp_path / "absent.pem")
    sign(folder, keys[0])
    with pytest.raises(UserError, match=r"wrong.pem: a public key in PEM, on an elliptic curve, expected"):
        check_signature(folder, wrong)


def test_without_the_package_it_is_said_how_to_get_it(bundle, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "model_signing", None)
    with pytest.raises(UserError, match=r'model-signing is not installed; pip install "neurodeploy\[sign\]"'):
        sign(bundle("onnx"), tmp_path / "key.pem")
