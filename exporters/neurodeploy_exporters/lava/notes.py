"""What a user of a Lava bundle must know, for its manifest."""

from collections.abc import Iterator, Sequence

from neurodeploy_exporters.bundle import GradedTensor
from neurodeploy_exporters.lava.circuit import Circuit
from neurodeploy_exporters.lava.quantize import QuantizedBody


def notes(
    body: QuantizedBody, graded: Sequence[GradedTensor], latency: int, steps: int, allowed: int | None
) -> tuple[str, ...]:
    """Sentences on time, on what leaves the chip and on what differs.

    Args:
        body: what runs on the chip.
        graded: tensors that leave it as numbers.
        latency: steps from an input to its last answer.
        steps: T.
        allowed: spikes of the sample in which a float encoder may differ; None where it cannot.
    """
    return tuple(_notes(body, graded, latency, steps, allowed))


def _notes(body: QuantizedBody, graded: Sequence[GradedTensor], latency: int, steps: int, allowed: int | None) -> Iterator[str]:
    if isinstance(body.network, Circuit):
        yield (
            f"The body answers {latency} steps late: each synapse layer on its longest way takes one step, and spikes that go "
            "a shorter way wait in synaptic delays. The latency of every layer is given with it."
        )
        yield (
            "body.circuit is this toolkit's own format, for bodies that branch; netx cannot read it. Where several parallel "
            "synapses carry one, their weights add up to it."
        )
    else:
        yield f"The body answers {latency} steps late: each of its {latency} synapse layers takes one step."
    yield (
        "Reset: a layer that answers d steps late clears u and v before its update at steps t with t % I == (1 + d) % I, with "
        f"an interval I of at least {steps}, so that every sample of a stream gets the result that it gets alone. Biases act "
        "at every step, also before the first spike arrives; that reset erases what they did until then."
    )
    if not graded:
        yield "encoder.onnx and head.onnx run on the host; the head reads the body's spikes of every step."
    for tensor in graded:
        when = (
            f"after the last of the sample's {steps} steps, divided by {steps}"
            if tensor.read == "after the last step"
            else "of every step"
        )
        yield (
            f"Graded read-out: the head reads {tensor.name}, which is u / 64 of the neurons {tensor.population} {when}, "
            f"{tensor.latency_steps} steps late. They never fire; this needs graded spikes (Loihi 2) or a probe of their state "
            "(Loihi 1). The bias is added in head.onnx."
        )
    if allowed is not None:
        yield (
            f"Float weights in encoder.onnx: ONNX Runtime and the chip differed from the reference interpreter in {allowed} "
            "spikes of the sample at export; export with --quantize exact for none."
        )
