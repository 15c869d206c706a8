"""A stem, residual blocks, a global pool and a classifier: what residual networks of one and two dimensions share."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from neurodeploy.layers import TimeMean
from neurodeploy.networks.blocks import BLOCKS, Residual, Shape, Style
from neurodeploy.networks.initialisation import initialise
from neurodeploy.networks.output import NetworkOutput


class ResidualNetwork(nn.Module):
    """`stem → blocks → (activation) → pool → classifier → mean over time`.

    The activation after the blocks, `act`, exists with the residual "ms" alone, whose blocks end with currents. Taps: the
    stem's activations, then each block's in order of depth, `block1.act1`, `block1.act2`, …, then `act`.

    Args:
        classes: K.
        stem: name → layer, in order; a name that begins with "stem" and is no pool is an activation and a tap.
        blocks: in order; each reads as many channels as the one before it writes.
        residual: kind of the blocks.
        style: what they share.
        pool: layer from `[T, B, C, …]` to `[T, B, C]`.
    """

    def __init__(
        self,
        classes: int,
        *,
        stem: Mapping[str, nn.Module],
        blocks: Sequence[Shape],
        residual: Residual,
        style: Style,
        pool: nn.Module,
    ) -> None:
        super().__init__()
        for name, layer in stem.items():
            self.add_module(name, layer)
        self._stem = tuple(stem)
        self._blocks = tuple(shape.name for shape in blocks)
        for shape in blocks:
            self.add_module(shape.name, BLOCKS[residual](shape, style))
        self.act = style.activations.make(last=True) if residual == "ms" else None
        self.pool = pool
        self.classifier = nn.Linear(blocks[-1].outputs, classes, bias=style.form == "batch-norm")
        self.readout = TimeMean()
        initialise(self, style.activations, normalised=style.form == "batch-norm")

    def forward(self, sample: Tensor) -> NetworkOutput:
        """`[B, C, …]`, or event frames `[B, T, C, …]` → `NetworkOutput`.

        Raises:
            UserError: the resolution does not suffice; names the layer.
        """
        x, taps = sample, {}
        for name in self._stem:
            x = self.get_submodule(name)(x)
            if name.startswith("stem") and not name.endswith("pool"):
                taps[name] = x
        for name in self._blocks:
            inner, x = self.get_submodule(name)(x)
            taps.update({f"{name}.{tap}": value for tap, value in inner.items()})
        if self.act is not None:
            x = taps["act"] = self.act(x)
        features = self.pool(x)
        step_logits = self.classifier(features)
        return NetworkOutput(self.readout(step_logits), step_logits, features, taps)


def stages(
    channels: Sequence[int], blocks: Sequence[int], kernels: Sequence[int], strides: Sequence[int], inputs: int
) -> list[Shape]:
    """The blocks of all stages: a stage's first block changes width and resolution, the others keep them.

    Args:
        channels, blocks, kernels, strides: width, number of blocks, kernel and stride of each stage.
        inputs: channels that the stem writes.
    """
    plan = [
        (width, kernel, stride if i == 0 else 1)
        for width, count, kernel, stride in zip(channels, blocks, kernels, strides, strict=True)
        for i in range(count)
    ]
    widths = [inputs, *(width for width, _, _ in plan)]
    return [
        Shape(f"block{number}", widths[number - 1], width, kernel, stride, last=number == len(plan))
        for number, (width, kernel, stride) in enumerate(plan, start=1)
    ]
