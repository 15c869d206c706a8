"""Image files of any size and format: their headers, which are cheap to check, and their pixels."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from neurodeploy.io.errors import UserError

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".pbm", ".tif", ".tiff", ".webp"})
MOST_PIXELS = 1 << 26
"""Of one image; 8192 × 8192. What claims more is taken for a decompression bomb."""

Fit = Literal["crop", "stretch"]
"""How an image comes to the wanted size: scaled so that its shorter side fits and cropped in the centre, or stretched."""
_DEEP = {"I", "I;16", "I;16B", "I;16L", "I;16N", "F"}


@contextmanager
def opened(path: Path, source: io.BytesIO | Path | None = None, formats: tuple[str, ...] = FORMATS) -> Iterator[Image.Image]:
    """An image whose header has been read; errors inside, as of damaged pixels, become one line that names the file.

    Args:
        path: what messages name.
        source: the content, if it has been read already.
        formats: of Pillow, that are accepted.

    Raises:
        UserError: the file is missing, no whole image of these formats, or inside something of it could not be decoded.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path if source is None else source, formats=formats) as image:
                yield image
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; was it moved since the folder was read?") from None
    except UnidentifiedImageError:
        raise UserError(f"{path}: not a whole image of the formats {', '.join(formats)}; remove or repair it") from None
    except Exception as error:  # decoders answer damage with nearly any type of exception
        reason = (str(error).splitlines() or ["damaged"])[0].split("<")[0].strip()
        raise UserError(f"{path}: not a whole image ({reason or 'damaged'}); remove or repair it") from None


def checked_size(path: Path) -> tuple[int, int]:
    """Height and width in pixels, from the header alone.

    Raises:
        UserError: no image, animated, of more than 8 bits a channel, or too large.
    """
    with opened(path) as image:
        width, height = image.size
        if width * height > MOST_PIXELS:
            raise UserError(f"{path}: {width}×{height} pixels found, {MOST_PIXELS:,} at most expected; make it smaller")
        if getattr(image, "is_animated", False):
            raise UserError(f"{path}: an animation or several pages found, one image expected; save its frames one by one")
        if image.mode in _DEEP:
            raise UserError(f"{path}: pixels of mode {image.mode} found, 8 bits a channel expected; convert it to 8 bits")
    return height, width


def read_pixels(path: Path, channels: Literal[1, 3], size: tuple[int, int] | None, fit: Fit) -> NDArray[np.uint8]:
    """The pixels of an image, `[channels, H, W]`.

    Colours are converted as Pillow does (`convert("RGB")` or `convert("L")`); transparency is dropped, and the orientation that
    a camera noted is not applied, as torchvision does it.

    Args:
        path: of an image that `checked_size` accepts.
        channels: 3 for red, green and blue, 1 for grey.
        size: wanted height and width; None for those that the image has.
        fit: how it comes to them; with Pillow's bilinear filter, which averages when it makes an image smaller.

    Raises:
        UserError: the image cannot be decoded.
    """
    with opened(path) as image:
        if image.size[0] * image.size[1] > MOST_PIXELS or image.mode in _DEEP:
            checked_size(path)  # changed since: says what is wrong
        plain = image.convert("RGB" if channels == 3 else "L")
    if size is not None:
        plain = fitted(plain, size, fit)
    pixels = np.asarray(plain, np.uint8)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)) if channels == 3 else pixels[None].copy()


def fitted(image: Image.Image, size: tuple[int, int], fit: Fit) -> Image.Image:
    """An image of the wanted height and width."""
    height, width = size
    if image.size == (width, height):
        return image
    box = (0.0, 0.0, float(image.width), float(image.height))
    if fit == "crop":
        scale = min(image.width / width, image.height / height)
        left, top = (image.width - scale * width) / 2, (image.height - scale * height) / 2
        box = (left, top, left + scale * width, top + scale * height)
    return image.resize((width, height), Image.Resampling.BILINEAR, box=box)
