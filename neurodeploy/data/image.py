"""Reading JPEG images that may be damaged or hostile."""

import io
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from neurodeploy.data.reading import read_file
from neurodeploy.errors import UserError

_AT_MOST = 1 << 20  # bytes of a small JPEG


def read_jpeg(path: Path, side: int) -> NDArray[np.uint8]:
    """A square image as red, green and blue planes, `[3, side, side]`; a grey one gives three equal planes.

    The size in the header is checked before anything is decoded, so a decompression bomb is never unpacked.

    Raises:
        UserError: the file is missing, damaged, too large, no JPEG, or of another size.
    """
    content = io.BytesIO(read_file(path, at_most=_AT_MOST))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(content, formats=("JPEG",))
        if image.size != (side, side):
            width, height = image.size
            raise UserError(f"{path}: {width}×{height} pixels found, {side}×{side} expected; put the official image there")
        with image:
            planes = np.asarray(image.convert("RGB"), np.uint8).transpose(2, 0, 1)
    except UserError:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        reason = (str(error).splitlines() or ["damaged"])[0].split("<")[0].strip()
        raise UserError(f"{path}: not a whole JPEG image ({reason}); remove it and fetch the official one again") from None
    return planes
