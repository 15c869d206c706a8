"""Networks of other shapes than images of three channels, trained with a plain loop, as their users have them."""

import torch
from torch import Tensor, nn


def wine() -> nn.Module:
    return nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 3))


class Symbols(nn.Module):
    """Images of 16×16 in 12 classes; one ReLU for all layers."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.ModuleList([nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 16, 3, 2, 1), nn.Conv2d(16, 24, 3, 2, 1)])
        self.norms = nn.ModuleList([nn.BatchNorm2d(8), nn.BatchNorm2d(16), nn.BatchNorm2d(24)])
        self.relu = nn.ReLU()
        self.classifier = nn.Linear(24 * 16, 12)

    def forward(self, x: Tensor) -> Tensor:
        for conv, norm in zip(self.features, self.norms, strict=True):
            x = self.relu(norm(conv(x)))
        return self.classifier(torch.flatten(x, 1))


class Spoken(nn.Module):
    """Over time series of features: two branches, side by side, and a mean over time."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(features, 24, 5, padding=2, bias=False), nn.BatchNorm1d(24), nn.ReLU(inplace=True))
        self.short = nn.Conv1d(24, 16, 3, stride=2, padding=1)
        self.long = nn.Conv1d(24, 16, 7, stride=2, padding=3)
        self.mix = nn.Sequential(nn.ReLU(), nn.Conv1d(32, 32, 3, padding="same", groups=2), nn.ReLU())
        self.classifier = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.mix(torch.cat([self.short(x), self.long(x)], dim=1))
        return self.classifier(x.mean(-1))


def fitted(network: nn.Module, samples: Tensor, labels: Tensor, *, epochs: int, rate: float = 3e-3) -> nn.Module:
    """Trained in a few lines of torch."""
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(network.parameters(), rate)
    network.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(samples)).split(32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(samples[batch]), labels[batch]).backward()
            optimizer.step()
    return network.eval()
