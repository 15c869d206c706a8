"""Verification of a bundle of strangers in a process of its own, called from Python: see `neurodeploy.io.cage`."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from neurodeploy.io.cage import CageLimits, chosen_limits, run_caged
from neurodeploy.io.errors import Failure, UserError
from neurodeploy_exporters.verify.verification import Verification, verify

_ERRORS = (UserError, Failure)


def verify_caged(folder: Path) -> Verification:
    """What `verify` finds, where nothing that it reads can harm this process.

    Raises:
        UserError: as `verify` does; or the process was ended for what it did.
        Failure: it took too long, or ended without an answer.
    """
    with TemporaryDirectory(prefix="neurodeploy-verify-") as temporary:
        answer = Path(temporary, "answer.json")
        limits = chosen_limits(CageLimits(writable=(temporary,)))
        module = "neurodeploy_exporters.verify.caged"
        code = run_caged([module, str(folder), str(answer)], limits, origin=str(folder))
        if not answer.exists():
            raise Failure(f"{folder}: the process that read it ended with code {code} and no answer")
        document = json.loads(answer.read_text("utf-8"))
    for kind in _ERRORS:
        if kind.__name__ in document:
            raise kind(document[kind.__name__])
    return Verification.from_document(document)


def main(arguments: Sequence[str]) -> None:
    """Write what `verify` finds, or what it raises.

    Args:
        arguments: the folder, as messages name it, and the file to write.
    """
    folder, answer = Path(arguments[0]), Path(arguments[1])
    try:
        document = verify(folder).as_document()
    except _ERRORS as error:
        document = {type(error).__name__: str(error)}
    answer.write_text(json.dumps(document), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
