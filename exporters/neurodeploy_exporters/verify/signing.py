"""Signatures of bundles, in the format of sigstore's model-signing: whose bundle it is, down to the last byte of every file.

A bundle's digest shows what was changed by accident; whoever changes a bundle on purpose can compute it anew, but no signature.
A signature is the file `SIGNATURE` in the bundle's folder. The manifest does not list it, for it is made of all the others.
"""

import io
import json
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from neurodeploy.io.errors import Failure, UserError, one_line
from neurodeploy.io.files import sha256, write_text
from neurodeploy_exporters.bundle import read_bundle
from neurodeploy_exporters.bundle.seal import SIGNATURE, damages

_MISMATCH = "Signature mismatch"
"""How the library's message begins where the signature is the key's, of other files."""
_LARGEST = 1 << 20


def sign(folder: str | Path, key: str | Path) -> Path:
    """Sign a bundle with a private key; no network is needed.

    Args:
        folder: of the bundle; a signature in it is replaced.
        key: PEM file of a key on an elliptic curve (P-256, P-384 or P-521), without a password.

    Returns:
        The signature's file.

    Raises:
        UserError: the bundle or key cannot be read, the bundle's files are not as its manifest lists them, or model-signing is
            not installed.
    """
    folder = Path(folder)
    for finding in damages(folder, read_bundle(folder).manifest):
        raise UserError(f"{finding}; only a sound bundle is signed")
    signing = _library().signing.Config().set_hashing_config(_all_files())
    with _of_key(key, "a private key in PEM, on an elliptic curve and without a password,"):
        signing.use_elliptic_key_signer(private_key=key)
    with TemporaryDirectory(prefix="neurodeploy-signature-") as place:  # in the folder it would be one of the files
        made = Path(place) / SIGNATURE
        signing.sign(folder, made)
        write_text(folder / SIGNATURE, made.read_text(encoding="utf-8"))
    return folder / SIGNATURE


def check_signature(folder: str | Path, key: str | Path) -> None:
    """Hold all files of a bundle against its signature; no network is needed.

    Args:
        folder: of the bundle.
        key: PEM file of the public key whose owner must have signed it.

    Raises:
        UserError: the key or the signature cannot be read, or model-signing is not installed.
        Failure: there is no signature, or it is by another key or of other files.
    """
    folder = Path(folder)
    path = folder / SIGNATURE
    if path.is_symlink() or not path.is_file():
        raise Failure(f"{folder}: not signed, there is no {SIGNATURE} in it; its maker signs it with `neurodeploy sign`")
    if path.stat().st_size > _LARGEST:
        raise Failure(f"{path}: {path.stat().st_size:,} bytes found, no signature is that large")
    # all files are hashed, whatever the signature says of how to do it
    verifying = _library().verifying.Config().set_hashing_config(_all_files())
    with _of_key(key, "a public key in PEM, on an elliptic curve,"):
        verifying.use_elliptic_key_verifier(public_key=key)
    try:
        with redirect_stdout(io.StringIO()):  # where the library gives hints
            verifying.verify(folder, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except Exception as error:  # cryptography, pydantic and the library have types of their own for what is wrong
        raise Failure(f"{path}: not a signature of this bundle by the owner of {key}: {_reason(error, folder)}") from None


def _library() -> Any:
    try:
        import model_signing
        import model_signing.signing
        import model_signing.verifying
    except ImportError:
        raise UserError('model-signing is not installed; pip install "neurodeploy[sign]"') from None
    return model_signing


def _all_files() -> Any:
    """All files in the folder but the signature; those of git too."""
    return _library().hashing.Config().set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)


@contextmanager
def _of_key(key: str | Path, expected: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{key}: cannot be read ({error.strerror})") from None
    except Exception:  # by the kind of key, each with a type and a text of its own
        raise UserError(f"{key}: {expected} expected") from None


def _reason(error: Exception, folder: Path) -> str:
    text = one_line(str(error))
    if not text.startswith(_MISMATCH):
        return text[:_LONGEST] or "it does not fit the key"
    envelope = json.loads((folder / SIGNATURE).read_text(encoding="utf-8"))["dsseEnvelope"]
    signed = json.loads(b64decode(envelope["payload"]))["predicate"]["resources"]
    expected = {one["name"]: one["digest"] for one in signed}
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    found = {name: sha256(path) for name, path in files.items() if name != SIGNATURE}
    differing = {
        "changed": [name for name in expected if name in found and found[name] != expected[name]],
        "missing": [name for name in expected if name not in found],
        "extra": [name for name in found if name not in expected],
    }
    return one_line("; ".join(f"{what}: {', '.join(names)}" for what, names in differing.items() if names))


_LONGEST = 300
