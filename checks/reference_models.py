"""Counts public models of others, and holds the counts against values that are known of them.

    python -m checks.reference_models --sources FOLDER       # all, and docs/reference-models.md
    python -m checks.reference_models --only SEW             # some, and no page

`make reference-models` makes the environment. The models' code is cloned into the folder, which must be outside of this
repository. Where there are no public weights, they are random, batch norm is settled on the input, and spikes and synaptic
operations say nothing of the trained model; which operations are multiply-accumulates, and how many, does not depend on them.
Exit code 1 if a value is not reached.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from math import isclose, prod
from pathlib import Path

import torch
from torch import Tensor, nn

from checks.references.models import MODELS, Known, Reference
from checks.references.page import Record, page
from checks.references.sources import NEUROBENCH, Unavailable
from neurodeploy_energy import LayerRow, Report, account
from neurodeploy_energy.price.reconciliation import Ledger, reconcile


@dataclass(frozen=True)
class Check:
    """A known value, and what it is here."""

    of: str
    known: float
    found: float
    where: str
    reached: bool


@dataclass(frozen=True)
class Outcome:
    """What was counted of a model, per sample.

    Attributes:
        name, repository, commit, weights: of the reference.
        parameters: their number.
        input: shape of one sample.
        steps: T.
        macs: multiply-accumulates.
        padded_macs: the same with padding, and with what is the same in every step in each of them.
        sops: synaptic operations.
        dense_macs: of every layer in every step.
        rate: firing rate.
        summed: layers that read whole numbers above 1.
        uncounted: layers that are not counted.
        ledgers: of other tools.
        checks: known values.
    """

    name: str
    repository: str
    commit: str
    weights: str
    parameters: int
    input: tuple[int, ...]
    steps: int
    macs: float
    padded_macs: float
    sops: float
    dense_macs: float
    rate: float
    summed: tuple[str, ...]
    uncounted: tuple[str, ...]
    ledgers: tuple[Ledger, ...]
    checks: tuple[Check, ...]


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(tempfile.gettempdir()) / "neurodeploy-references"
    parser.add_argument("--sources", type=Path, default=default, help=f"folder of the models' code; default {default}")
    parser.add_argument("--only", action="append", metavar="NAME", help="models in whose names this occurs; no page is written")
    parser.add_argument("--output", type=Path, default=Path("docs/reference-models.md"), help="the page to write")
    parser.add_argument("--json", type=Path, help="file for the outcomes; those of models that are in it are kept")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    if Path.cwd() in (options.sources.resolve(), *options.sources.resolve().parents):
        print(f"error: {options.sources}: inside this repository; the code of others stays outside", file=sys.stderr)
        return 2
    options.sources.mkdir(parents=True, exist_ok=True)
    chosen = [one for one in MODELS if options.only is None or any(name in one.name for name in options.only)]
    if not chosen:
        print(f"error: no model of that name, which are {', '.join(one.name for one in MODELS)}", file=sys.stderr)
        return 2
    kept = json.loads(options.json.read_text("utf-8")) if options.json is not None and options.json.exists() else []
    outcomes: dict[str, Record] = {record["name"]: record for record in kept}
    missing: dict[str, str] = {}
    for reference in chosen:
        if reference.name in outcomes:
            continue
        try:
            outcomes[reference.name] = json.loads(json.dumps(asdict(outcome_of(reference, options.sources))))
        except Unavailable as reason:
            missing[reference.name] = str(reason)
            print(f"{reference.name}: not obtained: {reason}", file=sys.stderr)
            continue
        print(_line(outcomes[reference.name]), flush=True)
        if options.json is not None:
            options.json.write_text(json.dumps([*outcomes.values()], indent=1) + "\n", encoding="utf-8")
    ordered = [outcomes[reference.name] for reference in MODELS if reference.name in outcomes]
    if options.only is None:
        options.output.write_text(page(ordered, missing), encoding="utf-8")
    return 0 if all(check["reached"] for one in ordered for check in one["checks"]) else 1


def outcome_of(reference: Reference, sources: Path) -> Outcome:
    """Make, settle and count a model.

    Raises:
        Unavailable: its code cannot be had.
    """
    repository = reference.repository
    torch.manual_seed(0)
    model = reference.make(sources if repository is None else repository.fetched(sources))
    x = reference.inputs()
    if reference.weights == "random":
        settle(model, x)
    model.eval()
    report = account(
        model,
        x,
        steps=reference.steps,
        time_axis=reference.time_axis,
        batch_axis=reference.batch_axis,
        neurons={name: "flat" for name, _ in model.named_modules() if reference.flat and name.endswith(reference.flat)},
        name=reference.name,
        profiles=("cmos45-fp32",),
    )
    ledgers = reconcile(report.layers, report.steps)
    total = report.total
    padded = padded_macs(report)
    head = [row for row in report.layers if row.kind == "synapse"][-1]
    found = {
        "padded macs": padded,
        "dense": total.dense_macs,
        "padded macs and head": padded + (0 if head.macs else head.dense_macs),
    }
    by_tool = {one.tool.split()[0]: one for one in reversed(ledgers)}
    checks = [_check(known, found[known.of]) for known in reference.known if known.of in found]
    if any(known.of == "syops macs" for known in reference.known):
        beside, syops = norms_and_pools(model, x), by_tool["syops"]
        macs, acs = (syops.macs or 0.0) + beside[0], (syops.acs or 0.0) + beside[1]
        checks += [_check(known, macs) for known in reference.known if known.of == "syops macs"]
        theirs = syops_itself(model, x)
        checks += [_agreement("syops itself, MACs", theirs[0], macs), _agreement("syops itself, accumulations", theirs[1], acs)]
    if repository is NEUROBENCH:
        theirs, ours = neurobench_itself(reference, model, x), by_tool["NeuroBench"]
        checks += [_agreement("NeuroBench itself, effective MACs", theirs[0], ours.macs or 0.0)]
        checks += [_agreement("NeuroBench itself, effective ACs", theirs[1], ours.acs or 0.0)]
    return Outcome(
        reference.name,
        "" if repository is None else repository.name,
        "" if repository is None else repository.commit,
        reference.weights,
        sum(weight.numel() for weight in model.parameters()),
        tuple(x.shape[1:]),
        report.steps,
        total.macs,
        found["padded macs"],
        total.sops,
        total.dense_macs,
        total.rate,
        tuple(row.name for row in report.layers if row.inputs.graded),
        tuple(f"{name}: {reason}" for name, reason in report.uncounted.items()),
        ledgers,
        tuple(checks),
    )


def _check(known: Known, found: float) -> Check:
    return Check(known.of, known.value, found, known.where, abs(found - known.value) <= known.tolerance)


def _agreement(of: str, theirs: float, ours: float) -> Check:
    """The tool's own count of this very run; the tools add up in single precision."""
    return Check(of, float(theirs), ours, "the tool, run here", isclose(theirs, ours, rel_tol=1e-6, abs_tol=0.5))


def settle(model: nn.Module, x: Tensor) -> None:
    """Statistics of batch norm as they are of this input, so that neurons fire."""
    momenta = {module: module.momentum for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)}
    for module in momenta:
        module.momentum = 1.0
    model.train()
    with torch.no_grad():
        model(x)
    for module, momentum in momenta.items():
        module.momentum = momentum
    reset(model)


def padded_macs(report: Report) -> float:
    """Of layers on analog values, as papers count them: with padding, and in every step those before the first neurons."""
    first = next((at for at, row in enumerate(report.layers) if row.kind == "neuron"), 0)
    repeated = [report.steps if at < first and row.steps == 1 else 1 for at, row in enumerate(report.layers)]
    return sum(often * _padded(row) for often, row in zip(repeated, report.layers, strict=True) if row.macs)


def _padded(row: LayerRow) -> float:
    if row.geometry is None:
        return row.dense_macs
    return row.steps * row.geometry.weights * prod(row.geometry.output)


def norms_and_pools(model: nn.Module, x: Tensor) -> tuple[float, float]:
    """What syops counts per sample of batch norms and max pools, which are in no report: multiply-accumulates and others."""
    counted = [0.0, 0.0]

    def count(module: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        values = inputs[0]
        size = values.numel() * (1 if isinstance(module, nn.MaxPool2d) else 2)
        if len(values.unique()) <= 2 and bool(values.max() <= 1) and bool(values.min() >= 0):
            counted[1] += size * float(values.mean())
        else:
            counted[0] += size

    kinds = (nn.BatchNorm2d, nn.MaxPool2d)
    hooks = [module.register_forward_hook(count) for module in model.modules() if isinstance(module, kinds)]
    _run(model, x)
    for hook in hooks:
        hook.remove()
    return counted[0] / len(x), counted[1] / len(x)


def syops_itself(model: nn.Module, x: Tensor) -> tuple[float, float]:
    """What syops counts."""
    from syops import engine

    engine.add_syops_counting_methods(model)
    model.start_syops_count(ost=sys.stderr, verbose=False, ignore_list=[])
    _run(model, x)
    (_, acs, macs, _), _ = model.compute_average_syops_cost()
    model.stop_syops_count()
    return macs, acs


def neurobench_itself(reference: Reference, model: nn.Module, x: Tensor) -> tuple[float, float]:
    """What NeuroBench counts: its effective operations."""
    from neurobench.metrics.workload import SynapticOperations
    from neurobench.models import TorchModel

    wrapped = TorchModel(InTime(model) if reference.steps else model)
    wrapped.register_hooks()
    with torch.no_grad():
        counted = SynapticOperations()(wrapped, wrapped(x), (x, None))
    wrapped.cleanup_hooks()
    reset(model)
    return counted["Effective_MACs"], counted["Effective_ACs"]


class InTime(nn.Module):
    """A model of one step, called with each step of `[B, T, …]`."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        reset(self.model)
        answers = [answer if isinstance(answer, Tensor) else answer[0] for answer in map(self.model, x.unbind(1))]
        return torch.stack(answers)


def _run(model: nn.Module, x: Tensor) -> None:
    with torch.no_grad():
        model(x)
    reset(model)


def reset(model: nn.Module) -> None:
    """Neurons of SpikingJelly and snnTorch as before their first step."""
    for module in model.modules():
        name = next((name for name in ("reset_mem", "reset") if hasattr(module, name)), None)
        if name is not None:
            getattr(module, name)()


def _line(one: Record) -> str:
    checks = (
        f"{check['of']} {check['found']:,.0f}, known {check['known']:,.0f}{'' if check['reached'] else ': NOT REACHED'}"
        for check in one["checks"]
    )
    counts = f"{one['macs']:,.0f} MACs, {one['sops']:,.0f} SOPs, T = {one['steps']}"
    return "; ".join([f"{one['name']}: {counts}", *checks])


if __name__ == "__main__":
    sys.exit(main())
