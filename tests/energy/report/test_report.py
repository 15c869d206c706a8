"""What people and programs read: golden files, hostile names, and pages that need nothing from anywhere."""

import csv
import io
import json
import os
import re
import resource
import warnings
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from matplotlib.image import imread
from rich.console import Console
from torch import nn

from neurodeploy.io.errors import Failure, UserError
from neurodeploy_energy import LayerRow, Report, account, compare, read_report, write_report
from neurodeploy_energy.price.profiles import load, parse
from neurodeploy_energy.report import (
    as_csv,
    as_json,
    as_latex,
    as_markdown,
    as_page,
    charts,
    energy_table,
    further_tables,
    layer_table,
    spike_line,
)
from neurodeploy_energy.report.network import network_of

GOLDEN = Path(__file__).parents[1] / "golden"
HOSTILE = '<script>alert("1")</script>|*_`[link](http://example.org)$\\bad{$'


def terminal(report):
    console = Console(width=140, file=io.StringIO(), markup=False, emoji=False)
    for part in (layer_table(report), energy_table(report), *further_tables(report), spike_line(report)):
        console.print(part)
    return console.file.getvalue()


def page(report, **changes):
    return as_page(report, **{"title": "Title", "facts": {}, "notices": ()} | changes)


FORMATS = {
    "report.json": as_json,
    "report.csv": as_csv,
    "report.md": lambda report: as_markdown(report, title="Energy of calm"),
    "report.txt": terminal,
    "report.tex": as_latex,
    "printed.txt": lambda report: f"{report}\n",
    "notebook.html": lambda report: f"{report._repr_html_()}\n",
    "report.html": lambda report: page(
        report, title="Energy of calm", facts={"Model": "calm, a network", "Data": "40 digits"}, notices=["Look first."]
    ),
}


def matches_golden(name, text):
    """Set NEURODEPLOY_WRITE_GOLDEN=1 to renew the files after a change that was meant."""
    if os.environ.get("NEURODEPLOY_WRITE_GOLDEN"):
        (GOLDEN / name).write_text(text, encoding="utf-8")
    assert text == (GOLDEN / name).read_text("utf-8")


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_each_format_reads_as_the_golden_file(report, name):
    matches_golden(name, FORMATS[name](report))


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_each_format_without_a_baseline_reads_as_the_golden_file(model, digits, name):
    matches_golden(f"alone_{name}", FORMATS[name](account(model, [digits], name="calm", profiles=["loihi1"])))


def test_a_printed_report_fits_a_screen_however_deep_the_model_and_names_what_it_leaves_out():
    name = "backbone.stage{0}.block{0}.a_rather_long_name_of_a_convolution"
    rows = tuple(LayerRow(name.format(i), "synapse", sops=1e5 * i, macs=3e12, rate=0.1) for i in range(300))
    costs = tuple(load(one) for one in ("cmos45-fp32", "cmos45-int8", "loihi1", "truenorth", "odin", "darwin3"))
    text = str(Report("deep", 1000, 8, rows, {f"layer{i}": "was never called" for i in range(50)}, costs))
    assert max(map(len, text.splitlines())) <= 80
    assert len(text.splitlines()) <= 26
    assert "290 other layers" in text
    assert "long_name_of_a_convolution " in text
    assert "and 46 more." in text
    assert "900 T" in text


def test_a_report_without_profiles_prints_its_counts_and_one_that_is_deployed_says_where(model, digits, report):
    text = str(account(model, digits, name="calm", profiles=[]))
    assert "µJ" in text.splitlines()[2]
    assert "Estimated" not in text
    assert "1,315" in text
    text = str(replace(report, places={"conv1": "encoder", "classifier": "head"}, host=load("cmos45-fp32")))
    deployed = r"As deployed \(loihi1, host cmos45-fp32\), µJ per sample: calm \S+ \(chip \S+, host \S+\); eager \S+ \(chip"
    assert re.search(deployed, " ".join(text.split()))


def test_a_layer_that_is_not_there_is_refused_with_those_that_are(report):
    with pytest.raises(UserError, match=r"^layer 'conv9': not in this report, which has conv1, act1, conv2, act2, pool"):
        report.layer("conv9")


def test_a_report_saves_itself_in_every_format_and_takes_a_folder_as_text(report, tmp_path):
    paths = report.save(str(tmp_path / "mine"))
    assert {"html", "json", "md", "csv", "tex", "spikes_per_layer"} <= set(paths)
    assert all(path.is_file() for path in paths.values())
    assert "<h1>Energy of calm</h1>" in paths["html"].read_text()
    assert read_report(str(paths["json"])) == report


@pytest.fixture
def hostile():
    rows = (LayerRow(HOSTILE, "synapse", sops=3, note=HOSTILE), LayerRow("=1+1", "neuron", neurons=2, steps=1, spikes=1))
    text = f"""
title = '{HOSTILE}'
source = '{HOSTILE}'
note = '{HOSTILE}'
year = 2020
scope = "core"
basis = "measured"
[cost_pj]
ac = 1
"""
    mine = parse(text, name=HOSTILE, origin="test")
    baseline = Report(HOSTILE, 2, 1, rows, {}, (mine,))
    report = Report(HOSTILE, 2, 1, rows, {HOSTILE: HOSTILE}, (mine,))
    return Report(HOSTILE, 2, 1, rows, {HOSTILE: HOSTILE}, (mine,), compare(report, baseline))


class Reader(HTMLParser):
    """Collects what a page would run or load, and checks that every element is closed."""

    VOID = ("meta", "img", "link", "input", "br")

    def __init__(self):
        super().__init__()
        self.scripts, self.open, self.loads = 0, [], []

    def handle_starttag(self, tag, attributes):
        self.scripts += tag == "script"
        self.loads += [value for name, value in attributes if name in ("src", "action", "srcset")]
        self.loads += [value for name, value in attributes if name == "href" and not value.startswith("#part-")]
        assert not any(name.startswith("on") for name, _ in attributes)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_what_a_notebook_shows_is_escaped_and_closed(hostile):
    reader = Reader()
    reader.feed(hostile._repr_html_())
    assert (reader.scripts, reader.open, reader.loads) == (0, [], [])


def test_a_page_escapes_every_text_and_loads_nothing(hostile, report):
    for one in (hostile, report):
        text = page(one, title=HOSTILE, facts={HOSTILE: HOSTILE}, notices=[HOSTILE])
        reader = Reader()
        reader.feed(text)
        assert reader.scripts == 1
        assert reader.open == []
        assert reader.loads == []
        assert "@import" not in text
        assert "url(" not in text
        assert "default-src 'none'" in text


def test_markdown_escapes_what_would_break_a_table_or_become_a_tag(hostile):
    text = as_markdown(hostile, title=HOSTILE)
    assert "<script>" not in text.replace("\\<script>", "")
    for line in text.splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) in (5, 6, 8, 9, 10), line


def test_latex_escapes_what_would_be_a_command_and_closes_what_it_opens(hostile):
    text = as_latex(hostile)
    assert text.count(r"\begin{") == text.count(r"\end{") == 6
    for line in text.splitlines():
        if line.endswith(r"\\"):
            assert line.count(" & ") in (2, 3, 4, 6, 7, 8), line
        if not line.startswith("%"):
            assert not re.search(r"(?<!\\)[$#_%]", line), line


def test_a_spreadsheet_runs_no_formula(hostile):
    rows = list(csv.DictReader(io.StringIO(as_csv(hostile))))
    assert [row["name"] for row in rows] == [HOSTILE, "'=1+1"]


def test_a_console_prints_names_with_brackets_as_they_are():
    report = Report("[red]m", 1, 1, (LayerRow("[bold]conv", "synapse", sops=1),), {}, (load("loihi1"),))
    assert "[bold]conv" in terminal(report)
    assert "[red]m" in terminal(report)


def test_the_json_holds_all_numbers_unrounded_and_marks_energies_as_estimates(report):
    document = json.loads(as_json(report))
    assert document["schema_version"] == 3
    assert [layer["sops"] for layer in document["layers"]] == [row.sops for row in report.layers]
    for entry, used in zip(document["energy"], report.profiles, strict=True):
        assert entry["estimate"] is True
        assert entry["total_uj"] == report.energy(used.name).total_uj
        assert entry["profile"]["source"] == used.source
    assert document["baseline"]["name"] == "eager"


def test_what_was_not_counted_is_in_every_format(digits):
    class Distances(nn.Module):
        def forward(self, x):
            return torch.cdist(x[:, None], x[:, None] + 1)

    report = account(nn.Sequential(nn.Flatten(), nn.Linear(64, 2), Distances()), [digits], batch_axis=0)
    assert "2: _cdist_forward" in as_json(report)
    assert "Not counted: layer 2: _cdist_forward: an operation that is not known to the counter" in page(report)
    assert "cdist" in as_markdown(report, title="t")


def test_a_report_is_written_whole_with_pictures_that_are_pictures(report, tmp_path):
    paths = write_report(report, tmp_path / "a" / "b", title="Title")
    assert sorted(p.relative_to(tmp_path / "a" / "b").as_posix() for p in paths.values()) == [
        "figures/energy_by_layer_cmos45-fp32.png",
        "figures/energy_by_layer_cmos45-int8.png",
        "figures/energy_by_layer_loihi1.png",
        "figures/energy_by_profile.png",
        "figures/network.png",
        "figures/rates_over_time.png",
        "figures/spikes_per_layer.png",
        "report.csv",
        "report.html",
        "report.json",
        "report.md",
        "report.tex",
    ]
    for path in paths.values():
        if path.suffix == ".png":
            picture = imread(path)
            assert min(picture.shape[:2]) > 400
            assert picture.std() > 0.05
    assert {p for p in tmp_path.rglob("*") if p.is_file()} == set(paths.values())


@pytest.mark.filterwarnings("error")
def test_odd_reports_are_drawn_without_a_warning(hostile, digits, tmp_path):
    own = parse("title='t'\nsource='s'\nyear=2020\nscope='core'\nbasis='measured'", name="empty", origin="test")
    silent = Report("silent", 1, 1, (LayerRow("n", "neuron", neurons=1, steps=1),), {}, (own, load("loihi1")))
    dense = account(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), [digits], profiles=["loihi1"])
    many = Report("deep", 1, 1, tuple(LayerRow(f"layer{i}", "neuron", spikes=i) for i in range(40)), {}, (load("loihi1"),))
    for i, one in enumerate((hostile, silent, dense, many)):
        write_report(one, tmp_path / str(i), title="t")


def test_a_page_shows_only_what_a_profile_states():
    own = parse("title='t'\nsource='s'\nyear=2020\nscope='core'\nbasis='measured'\n[cost_pj]\nac=1", name="own", origin="test")
    report = Report("m", 1, 1, (LayerRow("l", "synapse", sops=1),), {}, (own,))
    assert "t (core, measured). AC 1 pJ. Source: s." in page(report)


@pytest.mark.parametrize("size", [0, 500, 20_000])
def test_a_disk_without_room_is_a_failure_that_names_the_file_and_leaves_no_half_of_it(report, tmp_path, size):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        with pytest.raises(Failure, match=f"{tmp_path}.*: not written"), warnings.catch_warnings():
            write_report(report, tmp_path, title="Title")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert all(path.stat().st_size > 0 for path in tmp_path.rglob("*") if path.is_file())
    assert not list(tmp_path.rglob(".*"))


def test_a_folder_that_is_a_file_is_refused(report, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write_report(report, tmp_path / "taken", title="Title")


CONTROLS = "a\x1b[31m\x9b\u202eb\r\nc\x00"


def hostile_in_controls(report):
    rows = tuple(replace(row, name=f"{CONTROLS}{row.name}", note=CONTROLS, reads=()) for row in report.layers)
    return replace(report, name=CONTROLS, layers=rows, uncounted={CONTROLS: CONTROLS}, comparison=None, series={})


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_no_format_hands_on_what_a_terminal_would_take_for_a_command(report, name):
    text = FORMATS[name](hostile_in_controls(report))
    shown = [line.replace("\t", " ") for line in text.split("\n")]
    assert all(line.isprintable() for line in shown), next(line for line in shown if not line.isprintable())
    assert "a\\x1b[31m" in text or "a\\u001b[31m" in text or r"a\textbackslash{}x1b" in text or "a\\\\x1b" in text


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", " =", "\t=", "\r=", "＝"])
def test_a_spreadsheet_runs_no_formula_however_it_begins(report, begin):
    odd = replace(report.layers[0], name=f"{begin}1+1")
    rows = list(csv.DictReader(io.StringIO(as_csv(replace(report, layers=(odd, *report.layers[1:]), comparison=None)))))
    assert rows[0]["name"] == f"'{begin.strip()}1+1"


def test_accuracy_is_in_every_format(report):
    known = replace(report, answers=(39, 40), comparison=None, host=None)
    assert json.loads(as_json(known))["answers"] == {"correct": 39, "samples": 40}
    assert "97.5" in as_csv(known)
    for text in (as_markdown(known, title="t"), as_latex(known), page(known), terminal(known), str(known), known._repr_html_()):
        assert "97.50" in text


def test_captions_in_latex_are_short_and_a_table_longer_than_a_page_is_broken(report):
    text = as_latex(report)
    captions = re.findall(r"\\caption\{(.*)\}", text)
    assert len(captions) == 6
    assert max(map(len, captions)) < 90
    assert "ISSCC 2014" in text
    rows = tuple(LayerRow(f"layer{i}", "synapse", sops=1.0) for i in range(100))
    deep = as_latex(replace(report, layers=rows, comparison=None))
    assert deep.count(r"\begin{longtable}") == deep.count(r"\end{longtable}") == 1  # one reason of all is one line


def test_a_page_has_contents_that_lead_to_its_parts_and_carries_the_report(report):
    text = page(report)
    links = re.findall(r'<a href="#(part-\d+)">([^<]*)</a>', text)
    assert len(links) == 9
    for part, title in links:
        assert f'<h2 id="{part}">{title}</h2>' in text
    carried = re.search(r'<pre hidden data-name="report.json"[^>]*>\n(.*?)</pre>', text, re.DOTALL)
    assert json.loads(unescape(carried[1])) == json.loads(as_json(report))


def test_a_chart_names_no_model_that_has_no_number_in_it_or_says_that_it_has_no_price(report, digits):
    dense = account(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), [digits], name="dense")
    against = replace(report, comparison=compare(report, dense))
    assert list(charts.spikes_per_layer(against).legend) == ["calm", ""]
    unpriced = replace(against, profiles=(load("cmos45-fp32"), load("truenorth")), host=None)
    unpriced = replace(unpriced, comparison=compare(unpriced, dense))
    chart = charts.energy_by_profile(unpriced)
    assert [bar.value is None for bar in chart.rows["truenorth"]][1]
    assert ">no price</text>" in page(unpriced)


def test_the_graph_has_every_layer_that_reads_or_is_read_with_the_rates_on_its_edges(report):
    graph = network_of(report)
    names = [node.name for node in graph.nodes]
    assert names == ["the data", "conv1", "act1", "conv2", "act2", "classifier"]
    edges = {(names[edge.source], names[edge.target]): edge.label for edge in graph.edges}
    assert edges[("act1", "conv2")] == f"{100 * report.layer('act1').rate:.1f} %"
    assert edges[("conv1", "act1")] == ""
    assert network_of(replace(report, layers=tuple(replace(row, reads=()) for row in report.layers))) is None


def test_edges_that_pass_each_other_have_lanes_of_their_own():
    rows = [LayerRow(f"n{i}", "neuron", neurons=1, rate=0.5, reads=tuple(f"n{j}" for j in range(i))) for i in range(4)]
    graph = network_of(Report("dense", 1, 1, tuple(rows), {}, (load("loihi1"),)))
    lanes = {(edge.source, edge.target): edge.lane for edge in graph.edges}
    assert [lanes[pair] for pair in ((0, 1), (1, 2), (2, 3))] == [0, 0, 0]
    assert lanes[0, 2] != lanes[1, 3]
    assert len({lanes[0, 3], lanes[0, 2], lanes[1, 3]}) == 3


def test_a_report_replaces_an_earlier_one_of_other_profiles_whole_and_leaves_other_files(report, tmp_path):
    write_report(report, tmp_path, title="t")
    (tmp_path / "summary.json").write_text("{}")
    write_report(replace(report, profiles=report.profiles[1:2], comparison=None), tmp_path, title="t")
    figures = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {name for name in figures if name.startswith("energy_by_layer")} == {"energy_by_layer_cmos45-fp32.png"}
    assert (tmp_path / "summary.json").read_text() == "{}"
