"""What ties a bundle together: the digest of its manifest, which holds the hashes of all files, and what breaks it.

The digest is no signature: whoever changes a bundle can compute it anew. It shows what was changed by accident, or by somebody
who did not want to be seen by those who know the digest from elsewhere.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from math import isfinite
from pathlib import Path
from typing import Any

from neurodeploy.io.errors import UserError
from neurodeploy.io.files import sha256
from neurodeploy_exporters.bundle.manifest import MANIFEST, Manifest

DIGEST = "digest"
SIGNATURE = "model.sig"
"""A file that a bundle may have beside those that its manifest lists, made of all of them: see `verify.signing`."""


def digest_of(content: dict[str, Any]) -> str:
    """SHA-256 of a manifest's content without its digest: JSON with sorted keys and without spaces, in UTF-8."""
    claims = {key: value for key, value in content.items() if key != DIGEST}
    text = json.dumps(claims, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def sealed(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A manifest's content with the hashes and sizes of the files in `folder` that it lists, and their digest."""
    names = content["files"]
    found = content | {
        "files": {name: sha256(folder / name) for name in names},
        "sizes": {name: (folder / name).stat().st_size for name in names},
    }
    return found | {DIGEST: digest_of(found)}


def seal(folder: Path) -> None:
    """Compute all hashes of a bundle on disk anew, as somebody would who has changed one of its files or claims.

    Raises:
        OSError: a file is missing.
    """
    path = folder / MANIFEST
    content = sealed(json.loads(path.read_text(encoding="utf-8")), folder)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def content_of(path: Path, text: str) -> dict[str, Any]:
    """The content of a manifest's text, each name in it said once and each number finite.

    Raises:
        UserError: it is no JSON object, or says something twice, or a number that is none.
    """

    def once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise ValueError(f"{key!a}: said twice")
            found[key] = value
        return found

    def no_number(constant: str) -> Any:
        raise ValueError(f"{constant} found, a finite number expected")

    def finite(number: str) -> float:
        return float(number) if isfinite(float(number)) else no_number(number)

    try:
        content = json.loads(text, object_pairs_hook=once, parse_constant=no_number, parse_float=finite)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a valid manifest: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a valid manifest: a JSON object expected")
    return content


def check_seal(path: Path, content: dict[str, Any], manifest: Manifest) -> None:
    """Hold a manifest against its digest.

    Raises:
        UserError: it was changed, or lists sizes of other files than it hashes.
    """
    if manifest.schema_version == 2:
        return
    if manifest.digest != digest_of(content):
        raise UserError(
            f"{path}: field digest: not that of the other fields, so one of them was changed; export the bundle again"
        )
    if manifest.sizes.keys() != manifest.files.keys():
        odd = min(manifest.sizes.keys() ^ manifest.files.keys())
        raise UserError(f"{path}: field sizes: {odd} is in one of files and sizes alone; export the bundle again")


def damages(folder: Path, manifest: Manifest) -> Iterator[str]:
    """What of a bundle's files is not as the manifest lists it, a sentence each."""
    for name, expected in manifest.files.items():
        path = folder / name
        try:
            if path.is_symlink():
                yield f"{path}: a symbolic link, a file expected"
            elif not path.is_file():
                yield f"{path}: missing"
            elif sha256(path) != expected:
                yield f"{path}: changed, its SHA-256 is not the manifest's"
            elif path.stat().st_size != manifest.sizes.get(name, path.stat().st_size):
                yield f"{path}: {path.stat().st_size:,} bytes found, {manifest.sizes[name]:,} as in the manifest expected"
        except OSError as error:
            yield f"{path}: cannot be read ({error.strerror})"
    used = {*manifest.artefacts, manifest.sample.file}
    for name in sorted(manifest.files.keys() - used):
        yield f"{folder / name}: listed in the manifest, but no piece of the bundle"
    known = {MANIFEST, SIGNATURE, *manifest.files}
    for path in sorted(folder.iterdir()):
        if path.name not in known:
            yield f"{path}: not listed in the manifest"
