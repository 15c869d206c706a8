"""Every artefact of a network in every program that runs it, opened when it is asked for."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch

from neurodeploy.app.benchmark.compared import Compared
from neurodeploy.app.benchmark.rows import Duration, Unknown
from neurodeploy.graph.module import torch_run
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.bundle import Bundle, read_bundle
from neurodeploy_exporters.runtime import Run, Runtime, Variant, files_read
from neurodeploy_exporters.target import Target, find, shared_options, usable

Watch: TypeAlias = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True)
class Settings:
    """How a benchmark is taken.

    Attributes:
        targets: names; every installed target that can be imported if empty.
        options: of targets, by name; for all of them that have them.
        threads: that each program computes with.
        seconds: that one program may take to answer the samples, and again for the times of each size of batches.
        chip, host: energy profiles, by name or path.
    """

    targets: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    threads: int = 1
    seconds: float = 20.0
    chip: str = "loihi1"
    host: str = "cmos45-fp32+lemaire"


@dataclass(eq=False)
class Contestant:
    """An artefact in a program, while it is looked at.

    Attributes:
        target, variant, runtime, version: see `BenchmarkRow`.
        start: layers whose spikes are wanted → what runs it.
        output: tensor of the logits.
        bundle: of the artefact; None of the network itself.
        files: of the bundle, those that the program reads.
        notices: what a reader must know of it.
        untimed: why its times would say nothing.
    """

    target: str
    variant: str
    runtime: str
    version: str
    start: Callable[[Sequence[str]], Run]
    layers: tuple[str, ...]
    output: str
    bundle: Bundle | None = None
    files: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    untimed: str = ""
    opens: Literal[True] | Unknown = True
    fault: str = ""
    seconds: float = 0.0
    answered: int = 0
    correct: int = 0
    compared: int = 0
    values: int = 0
    differing: int = 0
    first: str = ""
    from_first: int = 0
    durations: dict[int, Duration | Unknown] = field(default_factory=dict)


def entered(asked: Compared, settings: Settings, root: Path, watch: Watch) -> tuple[list[Contestant], tuple[str, ...]]:
    """Every artefact in every runtime that is installed, and the names of those that are not."""
    contestants, absent = list[Contestant](), list[str]()
    if asked.subject is not None:
        contestants.append(_network(asked))
    for target, variant, bundle, reason in _artefacts(asked, settings, root, watch):
        if isinstance(bundle, Unknown):
            contestants.append(_refused(target.name, variant, bundle))
            continue
        for runtime in target.runtimes(bundle):
            if runtime.installed:
                contestants.append(_contestant(target, variant, bundle, runtime, settings.threads, reason))
            elif (name := runtime.name.partition(",")[0]) not in absent:  # without the way in which it runs
                absent.append(name)
    return contestants, tuple(absent)


def _artefacts(
    asked: Compared, settings: Settings, root: Path, watch: Watch
) -> Iterator[tuple[Target, Variant, Bundle | Unknown, str]]:
    """Target, variant, what was exported, and why a runtime more that was hoped for has no files."""
    if asked.bundle is not None:
        if settings.targets or settings.options:
            raise UserError(f"{asked.bundle.folder}: a bundle is run as it was exported; leave out targets and their options")
        yield find(asked.bundle.manifest.target), Variant(), asked.bundle, ""
        return
    names = settings.targets or tuple(usable())
    given = shared_options(names, settings.options)
    wanted = [(find(name), variant) for name in names for variant in _variants(find(name), given[name])]
    for number, (target, variant) in enumerate(wanted):
        watch(f"exporting to {target.name}", number, len(wanted))
        bundle, reason = _exported(asked, target, variant, root / f"{number}-{target.name}")
        yield target, variant, bundle, reason


def _variants(target: Target, given: Mapping[str, Any]) -> list[Variant]:
    """Those of the target that agree with the options that were given, with them; or these alone.

    Raises:
        UserError: the target refuses the options in each of them.
    """
    known = target.variants()
    varied = {name for one in known for name in one.options} & given.keys()
    agreeing = [one for one in known if all(_value(target, one, name) == given[name] for name in varied)]
    said = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in given.items())
    made = [replace(one, options={**one.options, **given}) for one in agreeing] or [Variant(said, given)]
    sound, fault = dict[str, Variant](), UserError("")
    for variant in made:
        try:
            sound.setdefault(target.options(variant.options).model_dump_json(), variant)
        except UserError as error:
            fault = error
    if not sound:
        raise fault
    return list(sound.values())


def _value(target: Target, variant: Variant, option: str) -> Any:
    """What an option is in a variant, which may leave it at its default."""
    return getattr(target.options(variant.options), option)


def _exported(asked: Compared, target: Target, variant: Variant, folder: Path) -> tuple[Bundle | Unknown, str]:
    """A bundle, with the further options where the network takes them; and why it does not, or nothing."""
    assert asked.subject is not None
    reason = ""
    for options in ({**variant.options, **variant.further}, variant.options) if variant.further else (variant.options,):
        try:
            chosen = target.options(options)
            target.check(asked.subject.graph, chosen, calibrated=asked.subject.calibration is not None)
            return read_bundle(target.export(asked.subject, folder, chosen)), reason
        except UserError as error:
            reason = str(error).replace(f"{folder}/", "")
    return Unknown(f"cannot be exported: {reason}"), ""


def _network(asked: Compared) -> Contestant:
    """The network itself, in torch."""
    assert asked.subject is not None
    graph = asked.subject.graph

    def start(layers: Sequence[str]) -> Run:
        run = torch_run(graph)
        return lambda inputs: run(inputs, (*layers, graph.output.name))

    return Contestant("", "", "torch", torch.__version__, start, tuple(graph.spiking), graph.output.name)


def _contestant(target: Target, variant: Variant, bundle: Bundle, runtime: Runtime, threads: int, reason: str) -> Contestant:
    manifest, options = bundle.manifest, variant.options
    title = f"{target.name}, {variant.title}" if variant.title else target.name
    said_of_it = (*target.notices(target.options(options)), *([f"{reason}."] if reason else []))
    notices = tuple(f"{title}: {notice}" for notice in said_of_it)
    return Contestant(
        target.name,
        variant.title,
        runtime.name,
        runtime.version,
        lambda layers: runtime.open(bundle, layers, threads),
        tuple(layer.name for layer in manifest.spiking_layers),
        manifest.output_name,
        bundle,
        files_read(bundle, runtime),
        notices=notices,
        untimed=f"{runtime.name} reads the files again for every batch" if runtime.reopens else "",
    )


def _refused(target: str, variant: Variant, reason: Unknown) -> Contestant:
    def start(_: Sequence[str]) -> Run:
        raise UserError(reason.reason)

    return Contestant(target, variant.title, "", "", start, (), "", opens=reason)


def opened(one: Contestant, layers: Sequence[str]) -> Run | None:
    if isinstance(one.opens, Unknown):
        return None
    try:
        return one.start(layers)
    except UserError as error:
        one.opens = Unknown(said(one, error))
        return None


def said(one: Contestant, error: UserError) -> str:
    """What was wrong, without the folder, which is gone once all is done."""
    folder = "" if one.bundle is None else f"{one.bundle.folder}/"
    return str(error).replace(folder, "") if folder else str(error)
