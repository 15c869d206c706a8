"""What of a recorded energy the multiply-accumulates on padding are, which runs of a few commits still counted.

They follow from the architecture alone: a layer that reads analog values meets its padding once per sample, whatever the data
and its weights are; spikes never meet any. So the networks are built again, untrained, and counted with padding and without.
"""

from collections.abc import Iterable

import torch

from neurodeploy.data.cifar10 import Cifar10
from neurodeploy.data.speech import Fsdd
from neurodeploy.recipe import Recipe
from neurodeploy.training.results import Results, with_interval
from neurodeploy_energy import account
from neurodeploy_energy.price.profiles import load

PROFILE = "cmos45-fp32"
"""Of the estimates in the tables."""
WITH_PADDING = frozenset(["872bd61", "e52dbd4", "31db622", "f510c83", "33a87b9"])
"""Commits of recorded runs whose energies hold multiply-accumulates on padding."""
_CLASSES = 10


def on_padding(results: Results, role: str) -> float | None:
    """µJ per sample of a network's recorded energy that are spent on padding; None if it was counted without, or not at all."""
    if results.commit not in WITH_PADDING or results.energy(role, PROFILE) is None:
        return None
    recipe = results.recipe
    definition, code = recipe.network_of(role), recipe.code_of(role) if recipe.spikes(role) else None
    key = str(definition), str(code), sample_shape(recipe)
    if key not in _KNOWN:
        _KNOWN[key] = _counted_on_padding(recipe, role)
    return _KNOWN[key]


_KNOWN: dict[tuple[str, str, tuple[int, ...]], float] = {}


def energy_cell(results: Results, role: str) -> str:
    """The recorded energy with its interval, and what of it is spent on padding; "" if none is recorded."""
    counted, padding = results.energy(role, PROFILE), on_padding(results, role)
    if counted is None:
        return ""
    share = "" if not padding else f", of it {padding:.3f} on padding"
    return with_interval(counted) + share


def shortcuts_at_most(found: Iterable[Results]) -> float:
    """Percent of any recorded energy that the accumulations at shortcuts are at most, which the same runs did not count.

    A shortcut without a layer of its own adds spikes to the currents of a layer, each of them once.
    """
    price = float(load(PROFILE).ac or 0.0)
    networks = (one for results in found if results.commit in WITH_PADDING for one in results.networks if PROFILE in one.energy)
    return max((100 * one.spikes_per_sample * price * 1e-6 / one.energy[PROFILE] for one in networks), default=0.0)


def _counted_on_padding(recipe: Recipe, role: str) -> float:
    shape = sample_shape(recipe)
    torch.manual_seed(0)
    network, sample = recipe.build(role, shape[0], _CLASSES), torch.rand(1, *shape)
    reports = [account(network, sample, profiles=[PROFILE], padding=padding) for padding in (True, False)]
    counted, without = (report.energy(PROFILE).total_uj for report in reports)
    assert counted is not None
    assert without is not None
    return counted - without


def sample_shape(recipe: Recipe) -> tuple[int, ...]:
    """Of one sample."""
    data = recipe.data
    if isinstance(data, Cifar10):
        return 3, 32, 32
    assert isinstance(data, Fsdd), data.kind
    return (1, data.frames, data.bands) if data.layout == "image" else (data.bands, data.frames)
