"""Lava's own CPU simulation of a recorded chain: lava-nc's processes, all started before the first run that is timed."""

from typing import Any

from benchmarks.recordings import Recording
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava.circuit import Circuit


class LavaRun:
    """A chain in Lava's fixed-point models; the spikes of its last block go to a sink, as in the recorded times."""

    def __init__(self, case: Recording) -> None:
        from lava.magma.core.run_conditions import RunSteps
        from lava.magma.core.run_configs import Loihi2SimCfg
        from lava.proc.io.sink import RingBuffer as Sink
        from lava.proc.io.source import RingBuffer as Source

        circuit = case.network.circuit(input_shape=case.network.input_shape or case.inputs.shape[2:])
        processes = _built(circuit, case)
        if not circuit.has_input_neurons:
            processes.feed(Source(data=case.inputs[:, 0].transpose().copy()).s_out)
        last = circuit.populations[-1]
        self._sink = Sink(shape=last.shape[::-1], buffer=case.steps)
        processes.populations[last.key].s_out.connect(self._sink.a_in)
        self._process = processes.populations[circuit.populations[0].key]
        self._condition, self._configuration = RunSteps(num_steps=case.steps), Loihi2SimCfg(select_tag="fixed_pt")

    def run(self) -> None:
        """All steps once more; the first call compiles and starts the processes."""
        self._process.run(condition=self._condition, run_cfg=self._configuration)

    def stop(self) -> None:
        """End Lava's operating system processes."""
        self._process.stop()


def _built(circuit: Circuit, case: Recording) -> Any:
    from neurodeploy_exporters.lava.processes import build

    if case.settings["mode"] == "ain":
        raise UserError(f"{case.name}: mode ain found, spikes or bias expected")
    options = {name: case.settings[name] for name in ("reset_interval", "reset_offset", "input_message_bits")}
    return build(circuit, input_bias=case.inputs[0] if case.settings["mode"] == "bias" else None, **options)
