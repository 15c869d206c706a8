"""A deployment's energy: chip and host together, as the network is cut into the two."""

from collections.abc import Mapping
from dataclasses import dataclass

from neurodeploy_energy.count.layer import exact_sum
from neurodeploy_energy.price.account import Account
from neurodeploy_energy.price.estimate import estimate
from neurodeploy_energy.price.placement import Place, Placement, share
from neurodeploy_energy.price.profiles import Profile


@dataclass(frozen=True)
class DeploymentEnergy:
    """Estimated energy per sample in µJ, part by part.

    Attributes:
        chip: profile of the chip.
        host: profile of the host.
        chip_uj: the body, under the chip's profile.
        encoder_macs, head_macs: dense multiply-accumulates on the host, before and behind the chip. A neuron's update on the
            host is one of them. What uses no chip at all is in the head.
        encoder_uj, head_uj: the same under the host's profile.
        static_uj: of the chip, while the steps of a sample last; None if its profile does not say.
        left_out: what the profiles give no cost for.
        total_uj: chip and host together, static energy aside; None if operations of synapses have no price.
        graded_values: numbers that leave the chip; see `ReadoutNeurons`.
        event_driven_uj: `total_uj`, if the host computed only what spikes reach in layers that they enter; what it could be, as
            no exported file computes so.
    """

    chip: Profile
    host: Profile
    chip_uj: float
    encoder_macs: float
    head_macs: float
    encoder_uj: float
    head_uj: float
    static_uj: float | None
    left_out: tuple[str, ...]
    total_uj: float | None
    graded_values: float = 0.0
    event_driven_uj: float | None = None

    @property
    def host_uj(self) -> float:
        """Encoder and head."""
        return self.encoder_uj + self.head_uj

    @property
    def pair(self) -> str:
        """The two profiles, in a few words."""
        return f"{self.chip.name}, host {self.host.name}"


def deployment(report: Account, chip: Profile, host: Profile) -> DeploymentEnergy | None:
    """What each part costs where it runs, and all of it: the headline of a report.

    Layers of which it is not known where they run are taken to be on the chip; where it is known of none, the host does what is
    on analog values. None if it is known of none and the chip's profile prices a whole network: then nothing is left to a host.

    Raises:
        UserError: the host's profile has no cost of a multiply-accumulate.
    """
    places: Mapping[str, Place] = {row.name: "head" for row in report.layers} if report.host_alone else report.places
    placement = Placement(host, places, None if report.host_alone else report.readout)
    if not places and chip.mac is not None:
        return None
    found = estimate(report.layers, chip, report.steps, placement)
    events = exact_sum(placement.event_pj(row, leaky=True) for row in report.layers)
    early = _before_the_chip(report)
    rest = [row.name for row in report.layers if row.name not in early]
    uj = {layer.name: layer.host * 1e-6 for layer in found.layers}
    return DeploymentEnergy(
        chip,
        host,
        found.chip_uj,
        share(report.layers, placement, early),
        share(report.layers, placement, rest),
        exact_sum(uj[name] for name in early),
        exact_sum(uj[name] for name in rest),
        found.static_uj,
        found.left_out,
        found.total_uj,
        0.0 if placement.readout is None else placement.readout.graded_values,
        None if found.total_uj is None else found.chip_uj + events * 1e-6,
    )


def headline(report: Account) -> DeploymentEnergy | None:
    """The deployment under the report's first profile and its host; None where it knows no host, or none is needed."""
    return deployment(report, report.profiles[0], report.host) if report.host is not None and report.profiles else None


def _before_the_chip(report: Account) -> list[str]:
    """Layers of the host whose values enter the chip: the encoder, or all before the first operations on spikes."""
    if report.host_alone:
        return []
    if report.places:
        return [row.name for row in report.layers if report.places.get(row.name) == "encoder"]
    names: list[str] = []
    for row in report.layers:
        if row.sops:
            return names
        names.append(row.name)
    return []
