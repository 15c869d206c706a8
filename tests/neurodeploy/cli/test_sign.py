"""`neurodeploy sign` and `verify --identity`: done with 0, and 1 in one line where the signature is not valid."""

import json
import shutil
from pathlib import Path

import pytest


def key_pair(folder: Path, name: str) -> tuple[Path, Path]:
    """PEM files of a private key and of its public key."""
    ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec")
    from cryptography.hazmat.primitives import serialization

    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    key = ec.generate_private_key(ec.SECP384R1())
    pem, kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private.write_bytes(key.private_bytes(pem, kind, serialization.NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public


def test_a_bundle_is_signed_and_checked_and_another_key_or_a_changed_file_ends_with_1(cli, finished, tmp_path):
    pytest.importorskip("model_signing")
    folder = tmp_path / "onnx"
    shutil.copytree(finished / "seed-0" / "bundles" / "onnx", folder)
    (private, public), (_, stranger) = key_pair(tmp_path, "key"), key_pair(tmp_path, "other")
    unsigned = cli("verify", folder, "--identity", public)
    assert (unsigned.code, "not signed" in unsigned.err) == (1, True)
    assert "model.sig: written" in cli("sign", folder, "--key", private).out.replace("\n", "")
    again = json.loads(cli("sign", folder, "--key", private, "--json").out)
    assert again == {"bundle": str(folder), "signature": str(folder / "model.sig")}
    checked = cli("verify", folder, "--identity", public)
    assert checked.code == 0
    assert "verified, and signed by the owner of" in checked.out.replace("\n", "")
    assert '"signed_by"' in cli("verify", folder, "--identity", public, "--json").out
    (folder / "body.onnx").write_bytes((folder / "body.onnx").read_bytes() + b" ")
    for key in (stranger, public):
        outcome = cli("verify", folder, "--identity", key)
        assert outcome.code == 1
        assert "not a signature of this bundle" in outcome.err.replace("\n", " ")
        assert "Traceback" not in outcome.err


def test_a_key_that_is_missing_ends_with_2(cli, finished, tmp_path):
    pytest.importorskip("model_signing")
    outcome = cli("sign", finished / "seed-0" / "bundles" / "onnx", "--key", tmp_path / "absent.pem")
    assert (outcome.code, "absent.pem: cannot be read" in outcome.err.replace("\n", "")) == (2, True)
