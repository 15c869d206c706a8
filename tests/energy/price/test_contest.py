"""Any number of models over seeds and samples: means, bootstrap intervals, the Pareto front, and every format of the answer."""

import csv
import io
import json
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from neurodeploy.io.errors import UserError
from neurodeploy_energy import LayerRow, Report
from neurodeploy_energy.count.layer import Series
from neurodeploy_energy.price.contest import Contender, contest, dominates, interval, mean_draws
from neurodeploy_energy.price.per_sample import energy_per_sample
from neurodeploy_energy.price.profiles import load
from neurodeploy_energy.report import as_json, read_report
from neurodeploy_energy.report.formats import drawn, table_as_csv
from neurodeploy_energy.report.versus import (
    ContestDocument,
    all_tables,
    as_latex,
    as_markdown,
    as_page,
    profiles,
    twins,
    write_contest,
)
from neurodeploy_energy.report.versus import as_json as contest_json

GOLDEN = Path(__file__).parents[1] / "golden"
COSTS = tuple(load(name) for name in ("cmos45-fp32", "cmos45-int8", "loihi1"))
HOSTILE = '<script>alert("1")</script>|*_`[link](http://example.org)$\\bad{$'


def report_of(name, sops, *, correct=None, layer="act", steps=4):
    """A report whose samples cost as many synaptic operations as `sops` says, and half as many spikes."""
    counts = torch.tensor(sops, dtype=torch.int64)
    mean, none = float(counts.double().mean()), torch.zeros_like(counts)
    rows = (
        LayerRow("conv", "synapse", steps=steps, sops=mean, dense_macs=500.0 * steps),
        LayerRow(layer, "neuron", neurons=50, steps=steps, spikes=mean / 2),
    )
    half = (counts // 2).sum().reshape(1).repeat(steps) // steps
    series = {"conv": Series(half, counts // 2, counts, none), layer: Series(half, counts // 2, none, none)}
    answers = None if correct is None else (correct, len(sops))
    return Report(name, len(sops), steps, rows, {}, COSTS, series=series, answers=answers)


def seeds_of(name, *means, correct=None, samples=40):
    generator = np.random.default_rng(len(name))
    return Contender(name, tuple(report_of(name, 2 * generator.poisson(mean / 2, samples), correct=correct) for mean in means))


@pytest.fixture(scope="module")
def found():
    contenders = [
        seeds_of("eager", 4000, 4200, 4100, correct=38),
        seeds_of("calm", 2000, 2100, 2050, correct=37),
        seeds_of("lazy", 1900, 2300, 2200, correct=20),
    ]
    return contest(contenders)


def test_energies_are_means_over_seeds_and_changes_are_against_the_baseline(found):
    calm = found.standing("calm", "cmos45-fp32")
    reports = found.contenders[1].reports
    assert calm.uj == pytest.approx(np.mean([r.energy("cmos45-fp32").total_uj for r in reports]))
    assert calm.change_percent == pytest.approx(100 * (calm.uj / found.standing("eager", "cmos45-fp32").uj - 1))
    assert found.standing("eager", "cmos45-fp32").change_percent is None
    assert calm.interval.low < calm.uj < calm.interval.high
    assert calm.change_interval.low < calm.change_percent < calm.change_interval.high < 0
    assert calm.interval.over == "seeds and samples"


def test_the_front_holds_those_that_no_other_beats_in_both(found):
    assert found.front("cmos45-fp32") == ["eager", "calm"]
    assert dominates((90, 1), (80, 1))
    assert not dominates((90, 2), (80, 1))
    assert not dominates((90, 1), (90, 1))


def test_a_baseline_is_chosen_by_name_and_stands_first():
    one, two = seeds_of("one", 100), seeds_of("two", 50)
    answer = contest([one, two], baseline="two")
    assert answer.baseline.name == "two"
    assert answer.standing("one", "loihi1").change_percent > 50


def test_models_can_be_judged_under_other_profiles_than_their_reports():
    answer = contest([seeds_of("one", 100), seeds_of("two", 50)], profiles=[load("truenorth")])
    assert [s.profile.name for s in answer.standings] == ["truenorth"] * 2
    assert answer.standing("two", "truenorth").uj == pytest.approx(26e-6 * answer.contenders[1].reports[0].total.sops)


@pytest.mark.parametrize(
    ("names", "baseline", "message"),
    [
        (["one"], None, "one: at least two models are needed"),
        (["one", "one"], None, "model 'one': occurs twice"),
        (["one", "two"], "three", "baseline 'three': not among the models, which are one, two"),
    ],
)
def test_what_cannot_be_compared_is_refused(names, baseline, message):
    with pytest.raises(UserError, match=message):
        contest([seeds_of(name, 10) for name in names], baseline=baseline)


def test_the_energy_of_each_sample_has_the_report_s_total_as_its_mean(model, digits):
    from neurodeploy_energy import account

    report = account(model, [digits], profiles=("cmos45-fp32", "loihi1", "cmos45-int8+lemaire"))
    for costs in report.profiles:
        values = energy_per_sample(report, costs)
        assert len(values) == len(digits)
        assert values.mean() == pytest.approx(report.energy(costs.name).total_uj)
        assert values.std() > 0
    alone = account(model, [digits[3:4]], profiles=("cmos45-fp32",))
    assert energy_per_sample(report, report.profiles[0])[3] == pytest.approx(alone.energy("cmos45-fp32").total_uj)


def test_intervals_cover_the_true_mean_about_as_often_as_they_say():
    generator, hits = np.random.default_rng(1), 0
    for trial in range(100):
        values, over = mean_draws([generator.normal(5, 2, 60)], draws=300, seed=trial)
        found = interval(values, over)
        hits += found.low <= 5 <= found.high
    assert 86 <= hits <= 99


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=8), st.integers(0, 9))
def test_draws_are_those_of_their_seed_and_stay_within_the_values(values, seed):
    seeds = [np.array([value]) for value in values]
    first, over = mean_draws(seeds, draws=50, seed=seed)
    assert over == "seeds"
    assert np.array_equal(first, mean_draws(seeds, draws=50, seed=seed)[0])
    assert min(values) - 1e-9 <= first.min() <= first.max() <= max(values) + 1e-9


def test_draws_over_one_test_set_are_paired():
    """Two models that differ by the same in every sample: the difference is as sure as it can be."""
    generator = np.random.default_rng(0)
    values = generator.normal(100, 30, 200)
    first, second = mean_draws([values])[0], mean_draws([values + 5])[0]
    assert np.ptp(second - first) < 1e-9
    assert np.ptp(first) > 1


def test_a_single_value_has_no_interval():
    assert mean_draws([np.array([3.0])]) is None
    bare = replace(report_of("m", [10, 20]), series={})
    answer = contest([Contender("a", (bare,)), Contender("b", (bare,))])
    assert answer.standings[0].interval is None
    assert answer.standings[1].change_percent == 0
    assert all(change.interval is None for change in answer.layers)


def test_layers_are_compared_by_name_and_one_that_is_missing_has_no_difference():
    answer = contest([seeds_of("one", 100), Contender("two", (report_of("two", [4, 8], layer="other"),))])
    changes = {change.layer: change for change in answer.layers}
    assert changes["act"].spikes is None
    assert changes["other"].baseline is None
    assert changes["act"].difference is None


def test_a_report_read_from_its_file_is_compared_with_the_same_intervals(tmp_path, found):
    contenders = []
    for one in found.contenders:
        reports = []
        for number, report in enumerate(one.reports):
            path = tmp_path / f"{one.name}{number}.json"
            path.write_text(as_json(report))
            reports.append(read_report(path))
        contenders.append(Contender(one.name, tuple(reports)))
    again = contest(contenders)
    for before, after in zip(found.standings, again.standings, strict=True):
        assert (before.uj, before.interval, before.change_interval) == (after.uj, after.interval, after.change_interval)


def terminal(answer):
    console = Console(width=160, file=io.StringIO(), markup=False, emoji=False)
    for table in all_tables(answer):
        console.print(drawn(table))
    return console.file.getvalue()


FORMATS = {
    "comparison.txt": terminal,
    "comparison.json": contest_json,
    "comparison.csv": lambda answer: table_as_csv(profiles(answer)),
    "comparison.md": lambda answer: as_markdown(answer, title="Comparison"),
    "comparison.tex": as_latex,
    "comparison.html": lambda answer: as_page(answer, title="Comparison", facts={"Compared": "runs/demo"}, notices=["Look."]),
}


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_each_format_reads_as_the_golden_file(found, name):
    """Set NEURODEPLOY_WRITE_GOLDEN=1 to renew the files after a change that was meant."""
    text = FORMATS[name](found)
    if os.environ.get("NEURODEPLOY_WRITE_GOLDEN"):
        (GOLDEN / name).write_text(text, encoding="utf-8")
    assert text == (GOLDEN / name).read_text("utf-8")


def test_the_json_is_of_the_written_schema_and_names_estimates(found):
    document = ContestDocument.from_json(contest_json(found))
    assert all(one.estimate for model in document.models for one in model.energy)
    assert [one.on_front for model in document.models for one in model.energy if one.profile == "cmos45-fp32"] == [
        True,
        True,
        False,
    ]


def test_hostile_names_stay_text_in_every_format():
    answer = contest([seeds_of(HOSTILE, 10, correct=3), seeds_of("=1+1", 20, correct=5)])
    page = as_page(answer, title=HOSTILE)
    assert "<script>alert" not in page
    assert page.count("<script>") == 1
    assert "'=1+1" in [row[1] for row in csv.reader(io.StringIO(table_as_csv(profiles(answer))))]
    assert all(line.count(" & ") in (0, 4, 5, 7, 8, 9) for line in as_latex(answer).splitlines() if line.endswith(r"\\"))
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in as_markdown(answer, title="t").splitlines() if line[:1] == "|"}
    assert widths <= {7, 9, 10, 11}
    json.loads(contest_json(answer))


def test_a_comparison_is_written_whole_with_a_front_where_accuracies_are_known(found, tmp_path):
    paths = write_contest(found, tmp_path / "c", title="t")
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(paths.values())
    assert sorted(path.suffix for path in paths.values()) == [".csv", ".html", ".json", ".md", *[".png"] * 3, ".tex"]
    unknown = contest([seeds_of("one", 10), seeds_of("two", 20)])
    assert not [path for path in write_contest(unknown, tmp_path / "u", title="t").values() if path.suffix == ".png"]


def test_no_verdict_is_given_on_a_network_without_spikes_or_one_that_is_not_known_whole():
    dense = Report("dense", 4, 1, (LayerRow("fc", "synapse", macs=100.0, dense_macs=100.0),), {}, (load("cmos45-fp32"),))
    spiking = report_of("spiking", [40, 40, 40, 40])
    spiking = replace(spiking, profiles=dense.profiles)
    partly = replace(spiking, name="partly", uncounted={"attention": "an operation that is not known to the counter"})
    answer = contest([Contender(one.name, (one,)) for one in (dense, spiking, partly)])
    table = twins(answer)
    assert [[cell.text for cell in row[:2]] for row in table.rows] == [["spiking", "cmos45-fp32"]]
    models = {one["name"]: one["energy"][0] for one in json.loads(contest_json(answer))["models"]}
    assert models["spiking"]["dense_twin_uj"] is not None
    assert models["dense"]["dense_twin_uj"] is models["partly"]["dense_twin_uj"] is models["partly"]["break_even_rate"] is None
    assert twins(contest([Contender(one.name, (one,)) for one in (dense, partly)])) is None
