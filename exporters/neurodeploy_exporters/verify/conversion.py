"""Bundles of an earlier schema in today's form: the same files and sample, with what today's verification compares besides."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from neurodeploy.graph import interpreter
from neurodeploy.io.errors import Failure
from neurodeploy.io.files import atomic_members
from neurodeploy_exporters.bundle import MANIFEST, Bundle, Sample, read_bundle
from neurodeploy_exporters.bundle.constants import sums_of
from neurodeploy_exporters.bundle.sample import write_sample
from neurodeploy_exporters.bundle.seal import content_of, sealed
from neurodeploy_exporters.bundle.states import state_sums
from neurodeploy_exporters.bundle.visibility import scores
from neurodeploy_exporters.target import find
from neurodeploy_exporters.verify.artefact import read_artefact
from neurodeploy_exporters.verify.verification import verify

LATEST = 3
NOTE = (
    "Converted from schema 2: digest, sums of constants and potentials are of the files as they were at the conversion, when "
    "they fired what the sample has. What was changed before and does not show in spikes cannot be known, nor its provenance."
)


def convert(folder: str | Path) -> bool:
    """Write the manifest and sample of a bundle of schema 2 again, as of today's; its artefacts stay as they are.

    Args:
        folder: of the bundle.

    Returns:
        Whether there was something to do.

    Raises:
        UserError: it is no bundle, or a file cannot be read or run.
        Failure: it does not verify, before or after; it is left as it was.
    """
    folder = Path(folder)
    bundle = read_bundle(folder)
    if bundle.manifest.schema_version == LATEST:
        return False
    _must_pass(folder, folder)
    sample, manifest = _sample_of(bundle), folder / MANIFEST
    content = content_of(manifest, manifest.read_text(encoding="utf-8")) | {"schema_version": LATEST}
    content["notes"] = [*content.get("notes", ()), NOTE]
    content["sample"] |= {"mutations": [one.model_dump() for one in sample.mutations]} if sample.mutations else {}
    with TemporaryDirectory(prefix="neurodeploy-conversion-") as place:
        made = Path(place) / folder.name
        made.mkdir()
        for name in bundle.manifest.files:
            shutil.copyfile(folder / name, made / name)
        _write(made, bundle.manifest.sample.file, sample, content)
        _must_pass(made, folder)
        with atomic_members(folder) as temporary:
            for name in (bundle.manifest.sample.file, MANIFEST):
                shutil.copyfile(made / name, temporary / name)
    return True


def _sample_of(bundle: Bundle) -> Sample:
    """With the sums of constants, and of an exact network's potentials and currents."""
    sample = replace(bundle.sample(), constants=sums_of(find(bundle.manifest.target), bundle))
    if not bundle.manifest.is_exact or bundle.manifest.further_inputs:
        return sample
    graph = read_artefact(bundle.folder).graph
    tensors = interpreter.run(graph, sample.inputs, steps=bundle.manifest.steps)
    return replace(sample, states=state_sums(graph, tensors), mutations=scores(graph, tensors))


def _write(folder: Path, file: str, sample: Sample, content: dict[str, Any]) -> None:
    write_sample(folder / file, sample)
    text = json.dumps(sealed(content, folder), indent=2, ensure_ascii=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def _must_pass(folder: Path, origin: Path) -> None:
    findings = verify(folder).findings
    if findings:
        told = findings[0].replace(str(folder), str(origin))
        raise Failure(f"{origin}: does not verify, so it is left as it was; export it again: {told}")
