"""The C target: the exact network in plain C99, for microcontrollers and whatever else has a C compiler."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from neurodeploy.graph import Graph
from neurodeploy.graph.grid import grid_layers
from neurodeploy.graph.module import torch_run
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.bundle import Agreement, Bundle, Manifest, Piece, describe
from neurodeploy_exporters.c.building import program_of
from neurodeploy_exporters.c.bundled import NETWORK, network_text, selftest_files
from neurodeploy_exporters.c.choosing import choices_of
from neurodeploy_exporters.c.deployed import in_integers, steps_vary
from neurodeploy_exporters.c.layouts import Layout, laid_out
from neurodeploy_exporters.c.mapping import map_bundle, microcontroller
from neurodeploy_exporters.c.program import CProgram
from neurodeploy_exporters.c.reading import FORMAT
from neurodeploy_exporters.c.running import compiler, opened
from neurodeploy_exporters.provenance import completed
from neurodeploy_exporters.runtime import Fit, Variant
from neurodeploy_exporters.target import GridOptions, GridTarget, Subject

_PIECE = "model.c"
_CHIP = "cortex-m4"


class COptions(GridOptions):
    """Options of the target "c".

    Attributes:
        quantize: always "exact".
        kernel: "event" walks the spikes that enter a layer, "dense" goes through all products; "auto" takes for each layer what
            costs less at the rate that is measured on the calibration inputs, or else on the sample.
        layout: "make", or that of a PlatformIO project or an Arduino sketch.
        max_steps: of a sequence, for which ranges are proved; None takes the length of the sample's.
    """

    quantize: Literal["exact"] = Field(default="exact", description="C computes in integers, so weights are on the grid.")
    kernel: Literal["auto", "event", "dense"] = Field(
        default="auto", description="How sums are made: of the spikes that enter, of all products, or by measured rate."
    )
    layout: Layout = Field(
        default="make", description="Files for make, for PlatformIO, or as an Arduino sketch of the folder's name."
    )
    max_steps: int | None = Field(
        default=None, ge=1, description="Steps of the longest stream, where inputs are sequences; those of the sample."
    )


class CTarget(GridTarget):
    """C files that compute the exact network, spike by spike and logit by logit."""

    name = "c"
    Options = COptions
    formats: ClassVar = {"c": FORMAT}
    host_alone = True

    def documents(self) -> Mapping[str, tuple[str, type]]:
        from neurodeploy_exporters.c.mapping_text import McuMapDocument

        return {"microcontroller-map": ("map.json of `neurodeploy map` of a C bundle", McuMapDocument)}

    def check(self, graph: Graph, options: COptions, *, calibrated: bool = True, reset: bool = False) -> None:  # noqa: ARG002
        steps = graph.steps or 1
        samples = np.zeros((*((steps,) if graph.input.timed else ()), 1, *graph.input.shape), np.float32)
        program_of(in_integers(graph, samples, steps, input_bits=options.input_bits), steps)

    def deployed(self, graph: Graph, options: COptions) -> Graph:
        return in_integers(graph, None, graph.steps or 1, input_bits=options.input_bits)

    def notices(self, options: COptions) -> tuple[str, ...]:  # noqa: ARG002
        return ("Weights are 8-bit integers times a power of two, from the first layer to the last.",)

    def variants(self) -> tuple[Variant, ...]:
        return (Variant("exact"),)

    def fit(self, bundle: Bundle) -> Fit:
        """On a Cortex-M4."""
        mapping = map_bundle(bundle, microcontroller(_CHIP), twins=False)
        found = mapping.placed[0].footprint
        detail = (
            f"more than {mapping.placed[0].tables:,} bytes of flash; not measured: {mapping.notes[0]}"
            if found is None
            else (f"{found.mean:,.0f} instructions, {found.flash:,} bytes of flash, {found.ram:,} of RAM")
        )
        return Fit(mapping.chip.title, mapping.verdict, detail)

    def export(self, subject: Subject, folder: Path, options: COptions) -> Path:
        """See `Target.export`.

        Raises:
            UserError: a node has no form in C, or no exact one; the message names it.
        """
        inputs, known = subject.sample_inputs, [subject.sample_inputs, subject.calibration]
        steps = subject.graph.steps or len(inputs)
        most = _longest(subject.graph, steps, options.max_steps)
        deployed = self._on_integers(subject, options, most)
        sample = subject.sample(deployed)
        events = deployed.input.timed and all(_are_spikes(part) for part in known if part is not None)
        seen = inputs if subject.calibration is None or not subject.calibration.size else subject.calibration
        choices = choices_of(deployed, seen, options.kernel)
        program = program_of(deployed, most, choices, events=events, name=subject.name)
        files = laid_out({**program.files, **selftest_files(program, sample)}, options.layout, folder)
        files[NETWORK] = network_text(program, subject.name, choices)
        answers, agreement, compiled = _compared(program, subject, sample)
        manifest = Manifest(
            **describe(deployed, target=self.name, name=subject.name),
            steps=steps,
            latency_steps=0,
            pieces=(
                Piece(name="whole", file=_PIECE, format="c", inputs=(deployed.input.name,), outputs=(deployed.output.name,)),
            ),
            sources=tuple(sorted(files.keys() - {_PIECE})),
            quantization=self._quantization(subject.graph, deployed, program),
            accuracy=subject.measured(answers),
            sample=sample.entry(0),
            agreement=agreement,
            module=subject.compared(sample),
            provenance=completed(subject.provenance),
            **self.inputs(subject, deployed, options),
            notes=(*subject.assumed, *_notes(program, subject.encoding, options.layout, compiled=compiled)),
        )
        writers: Mapping[str, Callable[[Path], None]] = {name: partial(_write, text) for name, text in files.items()}
        return self.write_bundle(folder, manifest, writers, sample)

    def _on_integers(self, subject: Subject, options: COptions, steps: int) -> Graph:
        from neurodeploy.graph.grid import with_peak

        known = [part for part in (subject.sample_inputs, subject.calibration) if part is not None]
        graph = with_peak(subject.graph, known)
        samples = subject.sample_inputs
        if subject.calibration is not None and subject.calibration.size and not graph.input.timed:
            samples = np.concatenate([samples, subject.calibration])
        return in_integers(graph, samples, steps, input_bits=options.input_bits)

    def _quantization(self, graph: Graph, deployed: Graph, program: CProgram) -> dict[str, Any]:
        steps = {
            one.name: {"weight_step": 2.0**-one.exponent, "weight_error": one.weight_error}
            for one in grid_layers(graph, deployed)
        }
        remarks = {name: text for unit in program.units for name, text in unit.remarks.items()}
        return {"kind": "exact", "weights": "8-bit integers times a power of two", "layers": steps, "computed": remarks}


def _longest(graph: Graph, steps: int, asked: int | None) -> int:
    """For how many steps ranges are proved.

    Raises:
        UserError: the network does not leave that open, or its sample is longer.
    """
    if asked is None:
        return steps
    if not steps_vary(graph):
        raise UserError(
            f"max_steps: {asked} found, for a network that runs for {steps} steps by itself; leave it out where inputs are no "
            "sequences, or the answer is of their last steps"
        )
    if asked < steps:
        raise UserError(f"max_steps: {asked} found, at least {steps} expected, the steps of the sample")
    return asked


def _are_spikes(values: NDArray[np.float32]) -> bool:
    return bool(((values == 0) | (values == 1)).all())


def _write(text: str, path: Path) -> None:
    path.write_text(text, encoding="ascii")


def _compared(program: CProgram, subject: Subject, sample: Any) -> tuple[NDArray[np.int64] | None, Agreement | None, bool]:
    """Classes of the test samples, and how the compiled program agrees with the sample, where there is a compiler.

    Raises:
        UserError: it differs.
    """
    if compiler() is None:
        run, answer = torch_run(program.graph), program.graph.output.name
        return subject.answers(lambda samples: run(samples, [answer])[answer]), None, False
    with opened(program, program.files) as run_c:
        spikes, logits = run_c(sample.inputs)
        compared = sum(values.size for values in sample.spikes.values())
        wrong, _ = sample.disagreement({**spikes, program.graph.output.name: logits}, program.graph.output.name)
        if wrong or not np.array_equal(logits, sample.logits):
            raise UserError(
                f"{wrong} of {compared} spikes of the C program differ from the exact network's on the sample; the compiler "
                "may compute floats in another precision"
            )
        agreement = Agreement(
            reference="exported", samples=len(logits), spikes_compared=compared, mismatched_spikes=0, mismatch_rate=0.0
        )
        return subject.answers(lambda samples: run_c(samples)[1]), agreement, True


def _notes(program: CProgram, encoding: str | None, layout: Layout, *, compiled: bool) -> tuple[str, ...]:
    notes = [] if encoding is None else [encoding]
    told = {
        "make": "make -C BUNDLE compiles the self-test with the host's compiler and runs it; make -C BUNDLE m4 runs it on a "
        "Cortex-M4.",
        "platformio": "pio run -t upload in the bundle brings the self-test to a board; make -C BUNDLE runs it on the host.",
        "arduino": "The folder is a sketch: its self-test reports over the serial port.",
    }
    notes.append(told[layout])
    if not compiled:
        notes.append(
            "There was no C compiler at export, so the program was not run; neurodeploy verify does where there is one."
        )
    floats = [
        name for unit in program.units for name, text in unit.remarks.items() if "float32" in text and "rounded" not in text
    ]
    if floats:
        notes.append(
            f"Layers {', '.join(floats)}: potentials in float32, as the exact network has them, because their decay leaves "
            "every grid within these steps; a core without floating point computes them by its compiler's library."
        )
    return tuple(notes)
