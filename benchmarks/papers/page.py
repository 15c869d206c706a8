"""The page as text: for every recipe its command, a table of its networks, and what becomes of the paper's claims."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.papers.claim import VERDICTS, Claim
from benchmarks.papers.padding import PROFILE, energy_cell, shortcuts_at_most
from benchmarks.papers.paper import Paper, table
from neurodeploy.training.results import Results, with_interval

_HEAD = """# Results on real data

<!-- Written by `python -m benchmarks.papers`; change that, or the JSON files in docs/results/, and not this page. -->

What the papers print, beside what their methods do here: one table for each paper, then every recipe with all its networks.
Most rows are of settings made for two CPU cores: small networks, trained briefly. Compare the directions with the papers, not
the numbers. `louis-svgg11-cifar10-short` has the paper's network on all images and needs minutes on a GPU. The recipes in the
papers' own size and length are `enof-resnet20-cifar10`, `louis-svgg11-cifar10`, `louis-gsc`, `lasnn-vgg16-cifar10`,
`hybrid-vgg16-cifar10` and `conversion-vgg16-cifar10`; they need a GPU for hours and are not part of this page.

Accuracies are means over seeds on the whole test set named, spikes are counted over all spiking layers and time steps of a
sample; ± is the half width of the 95 % interval (Student's t over the seeds). Claims are tested on differences taken seed by
seed: both networks of a pair share seed, teacher, data and test set. A claim *holds* if the difference has its sign and the
interval excludes 0, and is *in this direction* if the interval includes 0; it is *contradicted* if the difference clearly has
the other sign, and otherwise *not seen*. With three seeds an interval is wide.

Energies are estimates: operations counted on the whole test set, times the constants of a profile (`neurodeploy profiles` has
their sources). Where none stands, the run was made before energies were kept; the command prints them. Commits are those of
this repository that trained a row; arithmetic differs between processors, so that a repeated row agrees within its interval
and not to the digit.

All energies here were recorded when the multiply-accumulates of a layer on its padding still counted. Today's count leaves them
out, and is lower by what each figure says beside it. That part is exact: it follows from the architecture alone, and the
multiply-accumulates of every recorded energy are those of its architecture with padding. Accumulations at shortcuts without a
layer did not count then and do now; they are at most one for each spike, {shortcuts:.1f} % of any figure. Everything else is
counted as it was.

Each command prints its table, and reads the official files of CIFAR-10 (binary version) from `$NEURODEPLOY_DATA/cifar10`, and
those of the Free Spoken Digit Dataset from `$NEURODEPLOY_DATA/fsdd`; where they are missing, it says where they come from.
"""


@dataclass(frozen=True)
class Section:
    """One recipe on the page.

    Attributes:
        recipe: its name.
        title: heading.
        claims: of its paper.
        remark: what a reader must know, such as why a claim is not seen.
    """

    recipe: str
    title: str
    claims: tuple[Claim, ...]
    remark: str = ""


def page(papers: Sequence[Paper], sections: Sequence[Section], found: dict[str, Results]) -> str:
    """Markdown of all papers, and of their sections whose results are there.

    Args:
        papers: in order.
        sections: one for each recipe that a paper names.
        found: recipe name → results.
    """
    known = {section.recipe: section for section in sections}
    parts, overview = [], []
    for paper in papers:
        there = [(known[recipe], found[recipe]) for recipe in paper.recipes if recipe in found]
        if there:
            overview += there
            parts += [f"## {paper.title}", "", *_beside(paper, found), *(_section(*one) for one in there)]
    return "\n".join([_HEAD.format(shortcuts=shortcuts_at_most(found.values())), _overview(overview), *parts])


def _beside(paper: Paper, found: dict[str, Results]) -> list[str]:
    if not paper.ours:
        return []
    pictures = [line for path, what in paper.pictures for line in (f"![{what}]({path})", "")]
    return [*table(paper, found), "", *pictures, f"**What differs, and why.** {paper.differs}", ""]


def _overview(there: Sequence[tuple[Section, Results]]) -> str:
    """Verdicts counted, a row for each recipe."""
    lines = [f"| command | claims | {' | '.join(VERDICTS)} |", "|---|--:|" + "--:|" * len(VERDICTS)]
    for section, results in there:
        verdicts = [claim.test(results).verdict for claim in section.claims]
        counts = " | ".join(str(verdicts.count(verdict) or "") for verdict in VERDICTS)
        lines.append(f"| `neurodeploy train {section.recipe}` | {len(verdicts)} | {counts} |")
    return "\n".join([*lines, ""])


def _of(results: Results) -> str:
    return "" if results.commit is None else f" Commit {results.commit}."


def _section(section: Section, results: Results) -> str:
    recipe = results.recipe
    samples = results.networks[0].samples
    lines = [
        f"### {section.title}",
        "",
        f"{recipe.description}.",
        "",
        "```",
        f"neurodeploy train {recipe.name} --output runs/{recipe.name}",
        "```",
        "",
        f"Data: {results.data}. Test samples: {samples:,}. Seeds: {', '.join(map(str, sorted(recipe.seeds)))}.{_of(results)}",
        "",
        f"| network | T | test accuracy, % | spikes per sample | estimated µJ per sample, {PROFILE} |",
        "|---|--:|--:|--:|--:|",
    ]
    for role in recipe.roles:
        relu = not recipe.spikes(role)
        spikes = "" if relu else with_interval(results.spikes(role), ",.0f")
        accuracy = with_interval(results.accuracy(role), ".2f")
        energy = energy_cell(results, role)
        lines.append(f"| {role} | {'' if relu else recipe.steps_of(role)} | {accuracy} | {spikes} | {energy} |")
    lines += ["", "| claim | difference | verdict |", "|---|--:|---|"]
    for claim in section.claims:
        finding = claim.test(results)
        verdict = finding.verdict if finding.verdict in ("holds", "in this direction") else f"**{finding.verdict}**"
        lines.append(f"| {claim.text} (`{claim.better}` − `{claim.worse}`) | {finding.difference} | {verdict} |")
    return "\n".join([*lines, "", *([section.remark, ""] if section.remark else [])])
