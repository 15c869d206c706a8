"""The model as it is deployed: spikes on a chip, the encoder before it and the head behind it as dense work on a host.

Two technologies make two lines. They are never added up: neither is a total of the other's profile.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from neurodeploy.io.errors import UserError
from neurodeploy_energy.cost import Profile
from neurodeploy_energy.estimate import estimate

if TYPE_CHECKING:
    from neurodeploy_energy.result import LayerRow, Report

Place = Literal["encoder", "body", "head"]
HOST = "cmos45-fp32"
"""Profile of the host if none is named."""


@dataclass(frozen=True)
class Deployment:
    """Estimated energy per sample in µJ, part by part.

    Attributes:
        chip: profile of the chip.
        host: profile of the host.
        chip_uj: the body, under the chip's profile.
        encoder_macs, head_macs: dense multiply-accumulates on the host, before and behind the chip. A neuron's update on the
            host is one of them.
        encoder_uj, head_uj: the same under the host's profile.
        static_uj: of the chip, while the steps of a sample last; None if its profile does not say.
        left_out: of the body, what the chip's profile gives no cost for.
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

    @property
    def host_uj(self) -> float:
        """Encoder and head."""
        return self.encoder_uj + self.head_uj


def deployment(report: "Report", chip: Profile, host: Profile) -> Deployment | None:
    """What each part costs where it runs; None if the report does not know which layers run where.

    Layers of which it is not known are taken to be on the chip.

    Raises:
        UserError: the host's profile has no cost of a multiply-accumulate.
    """
    if not report.places:
        return None
    if host.mac is None:
        raise UserError(f"profile {host.name}: a host computes densely, and it gives no cost_pj.mac; choose another")
    parts: dict[str, list[LayerRow]] = {"encoder": [], "body": [], "head": []}
    for row in report.layers:
        parts[report.places.get(row.name, "body")].append(row)
    encoder, head = (sum(map(host_macs, parts[place])) for place in ("encoder", "head"))
    body = estimate(parts["body"], chip, report.steps)
    price = host.mac * 1e-6
    return Deployment(chip, host, body.total_uj, encoder, head, price * encoder, price * head, body.static_uj, body.left_out)


def host_macs(row: "LayerRow") -> float:
    """Multiply-accumulates of a layer that a host evaluates densely, zeros and all."""
    return row.dense_macs + row.updates_active + row.updates_idle
