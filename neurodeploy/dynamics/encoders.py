"""What a recipe says of its encoder: one class for each kind, which builds the layer that makes sequences of samples."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from neurodeploy.dynamics.encodings import DirectEncoding, HostEncoding, LatencyEncoding, OwnEncoding, PoissonEncoding
from neurodeploy.io.errors import UserError
from neurodeploy.io.kinds import ByKind, kind_of
from neurodeploy.io.signatures import OfFunction, settings_of


class EncoderSettings(BaseModel):
    """`code`: how a static sample becomes a sequence of T steps. A subclass names its `kind` and builds the layer."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: str

    @abstractmethod
    def build(self, steps: int) -> nn.Module:
        """The layer `[B, …]` → `[T, B, …]`.

        In evaluation its answer for a sample depends on the sample alone: a host makes it once the network is deployed.
        """


class DirectCode(EncoderSettings):
    """`kind = "direct"`: the sample's value, or the current that it causes, at every step. See `EncoderSettings`."""

    kind: Literal["direct"] = "direct"

    def build(self, steps: int) -> nn.Module:
        """Works on what has a time axis of one step, before or after the first synapse layer."""
        return DirectEncoding(steps)


class PoissonCode(EncoderSettings):
    """`kind = "poisson"`: spikes drawn with the probability that the value says. See `EncoderSettings`.

    Attributes:
        seed: of the draws in evaluation.
        signed: negative values fire spikes of −1, for samples that `normalize` brings to [−1, 1]; else they never fire.
    """

    kind: Literal["poisson"] = "poisson"
    seed: int = Field(default=0, ge=0, lt=2**31)
    signed: bool = False

    def build(self, steps: int) -> HostEncoding:
        return PoissonEncoding(steps, self.seed, signed=self.signed)


class LatencyCode(EncoderSettings):
    """`kind = "latency"`: one spike for each value, the larger the earlier. See `EncoderSettings`."""

    kind: Literal["latency"] = "latency"

    def build(self, steps: int) -> HostEncoding:
        return LatencyEncoding(steps)


class EncoderOfFunction(OfFunction, EncoderSettings):
    """`kind = "my_module:Encoder"`: a module class, or a function that makes a module; it is given `steps`."""

    def build(self, steps: int) -> nn.Module:
        module = self.called(steps=steps)
        if not isinstance(module, nn.Module):
            raise UserError(f"{self.what}: {type(module).__name__} found, a torch module expected")
        return module


def encoder_function(kind: str, function: Callable[..., Any]) -> type[OfFunction]:
    """Settings of a function that makes an encoder; see `neurodeploy.io.signatures.settings_of`.

    Raises:
        UserError: it has no parameter `steps`.
    """
    settings = settings_of(EncoderOfFunction, kind, function, what="encoder", ours=("steps",))
    if "steps" not in settings.takes:
        raise UserError(f"encoder {kind!r}: no parameter steps found, which says how many it makes")
    return settings


AnyEncoder = Annotated[EncoderSettings, ByKind("encoder", "neurodeploy.encoders", call=encoder_function, short=True)]


def host_encoding(settings: EncoderSettings, steps: int) -> HostEncoding:
    """The layer of an encoder that is not direct: one of ours, or a user's module with its answers checked."""
    layer = settings.build(steps)
    return (
        layer
        if isinstance(layer, HostEncoding)
        else OwnEncoding(steps, layer, kind_of(settings), settings.model_dump(exclude={"kind"}))
    )
