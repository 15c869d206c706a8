"""Verification of a bundle of strangers in a process of its own, called from Python: see `neurodeploy.io.cage`."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from neurodeploy.io.cage import CageLimits, chosen_limits, run_caged
from neurodeploy.io.errors import Failure, UserError
from neurodeploy_exporters.verify.outcome import Verification

ERRORS = (UserError, Failure)


def verify_caged(folder: Path) -> Verification:
    """What `verify` finds, where nothing that it reads can harm this process.

    Raises:
        UserError: as `verify` does; or the process was ended for what it did.
        Failure: it took too long, or ended without an answer.
    """
    with TemporaryDirectory(prefix="neurodeploy-verify-") as temporary:
        answer = Path(temporary, "answer.json")
        limits = chosen_limits(CageLimits(writable=(temporary,)))
        code = run_caged(["neurodeploy_exporters.verify", str(folder), str(answer)], limits, origin=str(folder))
        if not answer.exists():
            raise Failure(f"{folder}: the process that read it ended with code {code} and no answer")
        document = json.loads(answer.read_text("utf-8"))
    for kind in ERRORS:
        if kind.__name__ in document:
            raise kind(document[kind.__name__])
    return Verification.from_document(document)
