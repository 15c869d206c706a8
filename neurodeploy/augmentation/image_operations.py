"""The image operations of AutoAugment, batched, on levels 0 … 255; every one gives what Pillow gives, level by level.

`levels` are whole numbers in float32, `[N, C, H, W]`; C is 1 (grey) or 3 (red, green, blue). Every other argument is a tensor
`[N]`, a number per image. Geometric operations take the nearest pixel and fill what came from outside with the level `fill`.
Source: Pillow's ImageOps, ImageEnhance and Image.transform, whose integer and rounding conventions are followed and tested.
"""

import torch
from torch import Tensor

from neurodeploy.augmentation.augmentation import gathered

_FIXED_POINT = 65536  # Pillow steps through the source in units of 2⁻¹⁶ pixel
_GREY = (19595.0, 38470.0, 7471.0)  # ITU-R 601 in units of 2⁻¹⁶; the sums stay below 2²⁴, so exact in float32

Row = tuple[Tensor | float, Tensor | float, Tensor | float]
"""a, b, c of `a x + b y + c`: a number for each image `[N]`, or one for all."""


def shear_x(levels: Tensor, slope: Tensor, fill: float) -> Tensor:
    """`out(x, y) = in(x + slope · y, y)`, from the upper left corner."""
    return _affine(levels, (1, slope, 0), (0, 1, 0), fill)


def shear_y(levels: Tensor, slope: Tensor, fill: float) -> Tensor:
    """`out(x, y) = in(x, y + slope · x)`, from the upper left corner."""
    return _affine(levels, (1, 0, 0), (slope, 1, 0), fill)


def translate_x(levels: Tensor, pixels: Tensor, fill: float) -> Tensor:
    """`out(x, y) = in(x + pixels, y)`."""
    return _affine(levels, (1, 0, pixels), (0, 1, 0), fill)


def translate_y(levels: Tensor, pixels: Tensor, fill: float) -> Tensor:
    """`out(x, y) = in(x, y + pixels)`."""
    return _affine(levels, (1, 0, 0), (0, 1, pixels), fill)


def rotate(levels: Tensor, degrees: Tensor, fill: float) -> Tensor:
    """Counter-clockwise about the centre, `Image.rotate`."""
    angle = torch.deg2rad(degrees.double())
    cos, sin = angle.cos(), angle.sin()
    x, y = levels.shape[-1] / 2, levels.shape[-2] / 2
    return _affine(levels, (cos, -sin, x - cos * x + sin * y), (sin, cos, y - sin * x - cos * y), fill)


def brightness(levels: Tensor, factor: Tensor) -> Tensor:
    """`factor · in`: 0 is black, 1 changes nothing."""
    return _blended(torch.zeros_like(levels), levels, factor)


def color(levels: Tensor, factor: Tensor) -> Tensor:
    """Between the grey image (0) and itself (1), and beyond; grey images stay."""
    return _blended(_grey(levels), levels, factor)


def contrast(levels: Tensor, factor: Tensor) -> Tensor:
    """Between its mean grey level everywhere (0) and itself (1), and beyond."""
    mean = _grey(levels).mean((1, 2, 3), keepdim=True, dtype=torch.float64).add(0.5).floor()
    return _blended(mean.to(levels.dtype), levels, factor)


def sharpness(levels: Tensor, factor: Tensor) -> Tensor:
    """Between the smoothed image (0) and itself (1), and beyond; the outermost pixels are not smoothed.

    Smoothed: the 3×3 neighbourhood with weights 1, and 5 for the pixel itself, divided by 13.
    """
    inner = levels[..., 1:-1, 1:-1]
    rows = levels[..., :-2, :] + levels[..., 1:-1, :] + levels[..., 2:, :]
    total = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] + 4 * inner
    smooth = levels.clone()
    smooth[..., 1:-1, 1:-1] = total.div(13).add(0.5).floor()
    return _blended(smooth, levels, factor)


def posterize(levels: Tensor, bits: Tensor) -> Tensor:
    """The highest `bits` of every level's 8, whole numbers from 1 to 8."""
    step = _per_image(torch.exp2(8 - bits), levels)
    return levels.div(step).floor().mul(step)


def solarize(levels: Tensor, threshold: Tensor) -> Tensor:
    """Levels from `threshold` upwards inverted."""
    return torch.where(levels < _per_image(threshold, levels), levels, 255 - levels)


def invert(levels: Tensor) -> Tensor:
    """`255 − in`."""
    return 255 - levels


def autocontrast(levels: Tensor) -> Tensor:
    """Every channel stretched to 0 … 255; one of a single level stays."""
    low, high = (extreme.double() for extreme in torch.aminmax(levels.flatten(2), dim=2, keepdim=True))
    scale = torch.full_like(low, 255).div((high - low).clamp_min(1))  # `255 / tensor` would round twice, Pillow does once
    stretched = (levels.flatten(2) * scale - low * scale).floor().clamp(0, 255).to(levels.dtype)
    return torch.where(high > low, stretched, levels.flatten(2)).reshape(levels.shape)


def equalize(levels: Tensor) -> Tensor:
    """Every channel's histogram made as flat as a table of levels can; one of a single level stays."""
    planes = levels.flatten(0, 1).flatten(1).long()
    start = torch.arange(len(planes), device=levels.device).mul(256).unsqueeze(1)
    histogram = torch.bincount((planes + start).flatten(), minlength=256 * len(planes)).reshape(-1, 256)
    brightest = histogram.gather(1, planes.amax(1, keepdim=True))
    step = (planes.shape[1] - brightest) // 255
    below = histogram.cumsum(1) - histogram
    table = ((step // 2 + below) // step.clamp_min(1)).clamp_max(255)
    table = torch.where(step > 0, table, torch.arange(256, device=levels.device))
    return table.gather(1, planes).to(levels.dtype).reshape(levels.shape)


def _per_image(values: Tensor, levels: Tensor) -> Tensor:
    return values.to(levels.dtype).reshape(-1, 1, 1, 1)


def _grey(levels: Tensor) -> Tensor:
    """`[N, 1, H, W]`."""
    if levels.shape[1] == 1:
        return levels
    red, green, blue = levels.split(1, 1)
    total = red * _GREY[0] + green * _GREY[1] + blue * _GREY[2]
    return total.add(32768).div(65536).floor()


def _blended(start: Tensor, end: Tensor, factor: Tensor) -> Tensor:
    """`start + factor · (end − start)`, cut to 0 … 255 and to whole numbers."""
    return (start + _per_image(factor, end) * (end - start)).clamp(0, 255).floor()


def _affine(levels: Tensor, to_x: Row, to_y: Row, fill: float) -> Tensor:
    """`out(x, y) = in(a x + b y + c, d x + e y + f)` at pixel centres, the nearest pixel."""
    height, width = levels.shape[-2:]
    x, y = (_source(row, levels) for row in (to_x, to_y))
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    pixels = y.clamp(0, height - 1) * width + x.clamp(0, width - 1)
    return gathered(levels, pixels).masked_fill(~inside.unsqueeze(1), fill)


def _source(row: Row, levels: Tensor) -> Tensor:
    """`⌊a (x + ½) + b (y + ½) + c⌋` for all pixels, int64 `[N, H, W]`, in Pillow's fixed point; N is 1 for constants."""
    zero = torch.zeros(1, dtype=torch.float64, device=levels.device)
    a, b, c = (zero + part for part in row)
    across, down, origin = (
        part.mul(_FIXED_POINT).add(0.5).floor().long().reshape(-1, 1, 1) for part in (a, b, c + 0.5 * a + 0.5 * b)
    )
    x = torch.arange(levels.shape[-1], device=levels.device)
    y = torch.arange(levels.shape[-2], device=levels.device).unsqueeze(1)
    return (origin + across * x + down * y) >> 16
