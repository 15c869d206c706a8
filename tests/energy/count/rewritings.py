"""One random spiking network, written in many ways: what it computes, and so what it costs, is the same in all of them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as f

from neurodeploy_energy import register_neuron


@dataclass(frozen=True)
class Net:
    """A random network: a direct-coded image, layers of synapses and neurons, a classifier whose answers are averaged.

    Attributes:
        seed: of its weights and samples.
        steps: T.
        widths: channels of the image and of each spiking layer; the first of them are convolutions.
        convolutions: how many spiking layers are convolutions; the others are linear.
        leak: factor of the potential in each step.
        soft: whether the reset subtracts the threshold, else it sets 0.
        pool: whether an average pool of 2 × 2 follows the convolutions.
        norm: whether a batch norm follows each layer of synapses.
        bias: whether layers of synapses have one.
        residual: whether the last spiking layer adds the spikes of the one before to its own, where they have the same shape.
    """

    seed: int
    steps: int
    widths: tuple[int, ...]
    convolutions: int
    leak: float
    soft: bool
    pool: bool
    norm: bool
    bias: bool
    residual: bool

    @property
    def size(self) -> int:
        return 4

    def samples(self) -> Tensor:
        """`[B, C, 4, 4]`, B = 3, or `[B, C]`."""
        drawn = torch.randn(3, self.widths[0], self.size, self.size, generator=torch.Generator().manual_seed(self.seed))
        return drawn if self.convolutions else drawn[:, :, 0, 0]

    def layers(self) -> tuple[list[nn.Module], list[nn.Module], nn.Linear]:
        """Synapses and norms of the spiking layers, and the classifier."""
        torch.manual_seed(self.seed)
        synapses: list[nn.Module] = []
        norms: list[nn.Module] = []
        features = self.widths[0]
        for at, (before, after) in enumerate(zip(self.widths, self.widths[1:], strict=False)):
            if at < self.convolutions:
                synapses.append(nn.Conv2d(before, after, 3, padding=1, bias=self.bias))
                features = after * self.size**2 // (4 if self.pool and at == self.convolutions - 1 else 1)
                norms.append(nn.BatchNorm2d(after) if self.norm else nn.Identity())
            else:
                synapses.append(nn.Linear(features, after, bias=self.bias))
                features = after
                norms.append(nn.BatchNorm1d(after) if self.norm else nn.Identity())
            nn.init.normal_(synapses[-1].weight, std=1.2 / synapses[-1].weight[0].numel() ** 0.5)
            if self.norm:
                nn.init.uniform_(norms[-1].weight, 0.5, 1.5)
                nn.init.normal_(norms[-1].bias, std=0.2)
                norms[-1].running_mean.normal_(std=0.1)
        return synapses, norms, nn.Linear(features, 3)


def fire(v: Tensor) -> Tensor:
    return (v >= 1.0).float()


class Lif(nn.Module):
    """One step in a call."""

    def __init__(self, net: Net, height: float = 1.0) -> None:
        super().__init__()
        self.net, self.height, self.v = net, height, None

    def reset(self) -> None:
        self.v = None

    def forward(self, current: Tensor) -> Tensor:
        v = current if self.v is None else self.net.leak * self.v + current
        z = fire(v)
        self.v = v - z if self.net.soft else v * (1 - z)
        return z * self.height


class Several(Lif):
    """All steps in a call, `[T, B, …]`."""

    def forward(self, currents: Tensor) -> Tensor:
        self.v = None
        return torch.stack([super(Several, self).forward(current) for current in currents])


class BatchFirst(Several):
    """The same, `[B, T, …]`."""

    def forward(self, currents: Tensor) -> Tensor:
        return super().forward(currents.transpose(0, 1)).transpose(0, 1)


class Flat(Several):
    """The same, `[B·T, …]`."""

    def forward(self, currents: Tensor) -> Tensor:
        split = currents.unflatten(0, (-1, self.net.steps)).transpose(0, 1)
        return super().forward(split).transpose(0, 1).flatten(0, 1)


for name, axes in (("Lif", "step"), ("Several", "time first"), ("BatchFirst", "batch first"), ("Flat", "flat")):
    register_neuron(f"{__name__}.{name}", axes)


class Base(nn.Module):
    """The layers; how they are run is the subclass's. All answer `[B, 3]`."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.net = net
        synapses, norms, self.head = net.layers()
        self.synapses, self.norms = nn.ModuleList(synapses), nn.ModuleList(norms)
        self.pool = nn.AvgPool2d(2)

    @property
    def depth(self) -> int:
        return len(self.synapses)

    def pooled(self, at: int) -> bool:
        return self.net.pool and at == self.net.convolutions - 1

    def adds(self, at: int) -> bool:
        return (
            self.net.residual
            and at == self.depth - 1
            and at > 0
            and self.net.widths[at] == self.net.widths[at + 1]
            and (at < self.net.convolutions or at > self.net.convolutions)
        )

    def before(self, at: int, x: Tensor) -> Tensor:
        """What a layer of synapses is given."""
        if at == self.net.convolutions and at > 0:
            return x.flatten(1)
        return x

    def current(self, at: int, x: Tensor) -> Tensor:
        return self.norms[at](self.synapses[at](self.before(at, x)))

    def after(self, at: int, z: Tensor, read: Tensor) -> Tensor:
        z = z + read if self.adds(at) else z
        return self.pool(z) if self.pooled(at) else z

    def answer(self, z: Tensor) -> Tensor:
        return self.head(z.flatten(1))


class Modules(Base):
    """Neurons are registered modules; the first layer runs in the loop over time."""

    height, hoisted, shared = 1.0, False, False

    def __init__(self, net: Net) -> None:
        super().__init__(net)
        self.neurons = nn.ModuleList(Lif(net, self.height) for _ in self.synapses)
        with torch.no_grad():
            for layer in [*self.synapses[1:], self.head]:
                layer.weight.div_(self.height)

    def forward(self, x: Tensor) -> Tensor:
        for neuron in self.neurons:
            neuron.reset()
        first = self.current(0, x) if self.hoisted else None
        total = 0
        for _ in range(self.net.steps):
            z = x
            for at in range(self.depth):
                current = first if at == 0 and first is not None else self.current(at, z)
                z = self.after(at, self.neurons[at](current), z)
            total = total + self.answer(z)
        return total / self.net.steps


class Hoisted(Modules):
    """The first layer's current is computed once."""

    hoisted = True


class Scaled(Modules):
    """Spikes of another height, which the weights behind make up for."""

    height = 0.3


class Inline(Base):
    """Neurons are lines of the loop; potentials start as tensors of zeros."""

    def forward(self, x: Tensor) -> Tensor:
        v: list[Tensor | float] = [0.0] * self.depth
        answers = []
        for _ in range(self.net.steps):
            z = x
            for at in range(self.depth):
                v[at] = self.net.leak * v[at] + self.current(at, z)
                fired = (v[at] >= 1.0).to(x.dtype)
                v[at] = v[at] - fired if self.net.soft else v[at] * (1.0 - fired)
                z = self.after(at, fired, z)
            answers.append(self.answer(z))
        return torch.stack(answers).mean(0)


def lif(net: Net, v: Tensor | None, current: Tensor) -> tuple[Tensor, Tensor]:
    """One step of neurons, as a function that every layer calls."""
    v = torch.zeros_like(current) if v is None else v
    v = v * net.leak + current
    fired = torch.where(v >= 1.0, 1.0, 0.0)
    return fired, (v - fired if net.soft else torch.where(fired > 0, 0.0, v))


class Functional(Base):
    """Synapses and neurons are functions; weights are parameters of the model."""

    def current(self, at: int, x: Tensor) -> Tensor:
        layer = self.synapses[at]
        x = self.before(at, x)
        run = (
            f.conv2d(x, layer.weight, layer.bias, padding=1)
            if at < self.net.convolutions
            else f.linear(x, layer.weight, layer.bias)
        )
        return self.norms[at](run)

    def answer(self, z: Tensor) -> Tensor:
        return z.flatten(1) @ self.head.weight.T + self.head.bias

    def forward(self, x: Tensor) -> Tensor:
        v: list[Tensor | None] = [None] * self.depth
        first = self.current(0, x)
        total = torch.zeros(len(x), 3)
        for _ in range(self.net.steps):
            z = x
            for at in range(self.depth):
                fired, v[at] = lif(self.net, v[at], first if at == 0 else self.current(at, z))
                z = self.after(at, fired, z)
            total += self.answer(z)
        return total / self.net.steps


class InPlace(Base):
    """Potentials and spikes are written in place; the threshold is subtracted before the comparison."""

    def forward(self, x: Tensor) -> Tensor:
        threshold = torch.ones(())
        v: list[Tensor] = []
        total = None
        for step in range(self.net.steps):
            z = x
            for at in range(self.depth):
                current = self.current(at, z)
                if step == 0:
                    v.append(torch.zeros_like(current))
                v[at].mul_(self.net.leak).add_(current)
                fired = (v[at] - threshold >= 0).float()
                if self.net.soft:
                    v[at] -= fired
                else:
                    v[at].masked_fill_(fired.bool(), 0.0)
                z = self.after(at, fired, z)
            total = self.answer(z) if total is None else total + self.answer(z)
        return total / self.net.steps


class Multi(Base):
    """Neurons take all steps, `[T, B, …]`; synapses run with time folded into the batch."""

    neuron: type[Lif] = Several

    def __init__(self, net: Net) -> None:
        super().__init__(net)
        self.neurons = nn.ModuleList(self.neuron(net) for _ in self.synapses)

    def repeated(self, x: Tensor) -> Tensor:
        return x.unsqueeze(0).repeat(self.net.steps, *[1] * x.dim()).flatten(0, 1)

    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(0, (self.net.steps, -1))

    def folded(self, z: Tensor) -> Tensor:
        return z.flatten(0, 1)

    def mean(self, answers: Tensor) -> Tensor:
        return answers.mean(0)

    def forward(self, x: Tensor) -> Tensor:
        z = self.repeated(x)
        for at in range(self.depth):
            fired = self.folded(self.neurons[at](self.split(self.current(at, z))))
            z = self.after(at, fired, z)
        return self.mean(self.split(self.answer(z)))


class MultiOnce(Multi):
    """The same; the first layer's current is computed once, and repeated."""

    def forward(self, x: Tensor) -> Tensor:
        z, first = x, self.current(0, x)
        for at in range(self.depth):
            current = self.repeated(first) if at == 0 else self.current(at, z)
            z = self.after(at, self.folded(self.neurons[at](self.split(current))), z)
        return self.mean(self.split(self.answer(z)))


class MultiBatchFirst(Multi):
    """Neurons take `[B, T, …]`."""

    neuron = BatchFirst

    def repeated(self, x: Tensor) -> Tensor:
        return x.unsqueeze(1).expand(-1, self.net.steps, *x.shape[1:]).flatten(0, 1)

    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(0, (-1, self.net.steps))

    def mean(self, answers: Tensor) -> Tensor:
        return answers.mean(1)


class MultiFlat(MultiBatchFirst):
    """Neurons take `[B·T, …]`."""

    neuron = Flat

    def split(self, x: Tensor) -> Tensor:
        return x

    def folded(self, z: Tensor) -> Tensor:
        return z

    def mean(self, answers: Tensor) -> Tensor:
        return answers.unflatten(0, (-1, self.net.steps)).mean(1)


class Stateless(nn.Module):
    """A neuron without a state of its own, which every layer shares."""

    def forward(self, current: Tensor, v: Tensor | float) -> tuple[Tensor, Tensor]:
        v = v + current
        z = torch.heaviside(v - 1.0, torch.ones(()))
        return z, v


register_neuron(f"{__name__}.Stateless", "step")


class Shared(Base):
    """One neuron object for all layers, which is handed their potentials."""

    def __init__(self, net: Net) -> None:
        super().__init__(net)
        self.neuron = Stateless()

    def forward(self, x: Tensor) -> Tensor:
        v: list[Tensor | float] = [0.0] * self.depth
        total = 0
        for _ in range(self.net.steps):
            z = x
            for at in range(self.depth):
                fired, after = self.neuron(self.current(at, z), self.net.leak * v[at])
                v[at] = after - fired if self.net.soft else after * (1 - fired)
                z = self.after(at, fired, z)
            total = total + self.answer(z)
        return total / self.net.steps


class Fused(Inline):
    """Batch norms are folded into the weights, as at inference."""

    def __init__(self, net: Net) -> None:
        super().__init__(net)
        self.eval()
        if net.norm:
            fuse = [
                nn.utils.fusion.fuse_conv_bn_eval if isinstance(one, nn.Conv2d) else nn.utils.fusion.fuse_linear_bn_eval
                for one in self.synapses
            ]
            fused = [run(one, norm) for run, one, norm in zip(fuse, self.synapses, self.norms, strict=True)]
            self.synapses, self.norms = nn.ModuleList(fused), nn.ModuleList(nn.Identity() for _ in fused)


WAYS: tuple[Callable[[Net], Base], ...] = (
    Modules,
    Hoisted,
    Scaled,
    Inline,
    Functional,
    InPlace,
    Multi,
    MultiOnce,
    MultiBatchFirst,
    MultiFlat,
    Shared,
    Fused,
)


def written(net: Net) -> Iterator[tuple[str, Base]]:
    """The network in every way."""
    for way in WAYS:
        yield way.__name__, way(net).eval()
