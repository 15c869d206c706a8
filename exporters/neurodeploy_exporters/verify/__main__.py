"""`python -m neurodeploy_exporters.verify FOLDER FILE`: what `verify` finds, or refuses, written to a file; see `caged`."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from neurodeploy_exporters.verify.caged import ERRORS
from neurodeploy_exporters.verify.verification import verify


def _main(arguments: Sequence[str]) -> None:
    folder, answer = arguments
    try:
        document = verify(folder).as_document()
    except ERRORS as error:
        document = {type(error).__name__: str(error)}
    Path(answer).write_text(json.dumps(document), "utf-8")


if __name__ == "__main__":
    _main(sys.argv[1:])
