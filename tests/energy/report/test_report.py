"""What people and programs read: golden files, hostile names, and pages that need nothing from anywhere."""

import csv
import io
import json
import os
import re
import resource
import warnings
from dataclasses import replace
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
    energy_table,
    further_tables,
    layer_table,
    spike_line,
)

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
        self.loads += [value for name, value in attributes if name in ("src", "href", "action", "srcset")]
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
    assert text.count(r"\begin{") == text.count(r"\end{") == 4
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
