"""The pages in a real browser: nothing on the console, sorted, switched and read from the keyboard, and small."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html import unescape

import pytest
import torch

from neurodeploy_energy import LayerRow, Report
from neurodeploy_energy.count.layer import Series
from neurodeploy_energy.price.account import compare
from neurodeploy_energy.price.contest import Contender, contest
from neurodeploy_energy.price.profiles import built_in, load
from neurodeploy_energy.report import as_page
from neurodeploy_energy.report.versus import as_page as contest_page

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
HOSTILE = '</script><img src=x onerror="throw 1">'
DRIVE = """
const result = { errors: [] };
window.addEventListener("error", (event) => result.errors.push(String(event.message)));
document.addEventListener("securitypolicyviolation", (event) => result.errors.push(event.blockedURI));
window.addEventListener("load", () => {
  const table = document.querySelector("[aria-label='Layer by layer'] table") ||
    document.querySelector("table"), buttons = [...table.querySelectorAll("thead button")];
  const column = (i) => [...table.tBodies[0].rows].map((row) => row.children[i].textContent);
  const spikes = buttons.findIndex((button) => button.textContent === "spikes");
  buttons[0].click(); result.ascending = column(0);
  buttons[0].click(); result.descending = column(0);
  buttons[spikes].click(); result.most = column(spikes).filter((text) => text)[0];
  result.sorted = buttons[spikes].closest("th").getAttribute("aria-sort");
  const visible = () => [...document.querySelectorAll("[data-profile]")].filter((one) => !one.hidden)
    .map((one) => one.dataset.profile).filter((name, i, all) => all.indexOf(name) === i);
  const choice = document.getElementById("profile");
  result.before = visible();
  choice.selectedIndex = choice.options.length - 1;
  choice.dispatchEvent(new Event("change"));
  result.after = visible();
  const chart = document.querySelector(".chart"), tip = document.getElementById("tip");
  chart.focus();
  const press = (key) => chart.dispatchEvent(new KeyboardEvent("keydown", { key, cancelable: true }));
  press("ArrowRight"); result.first = tip.hidden ? null : tip.textContent;
  press("ArrowRight"); result.second = tip.textContent;
  press("End"); result.last = tip.textContent;
  result.told = document.getElementById("told").textContent;
  press("Escape"); result.closed = tip.hidden;
  chart.querySelector(".mark").dispatchEvent(new PointerEvent("pointermove", { bubbles: true, clientX: 50, clientY: 50 }));
  result.hovered = tip.hidden ? null : tip.textContent;
  result.focusable = [...document.querySelectorAll("button, select, .chart, .scroll")].every((one) => one.tabIndex >= 0);
  result.wide = document.documentElement.scrollWidth > window.innerWidth;
  const answer = document.createElement("pre");
  answer.id = "result"; answer.textContent = JSON.stringify(result);
  document.body.append(answer);
});
"""

needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium found")


def deep(name, layers, seed=0):
    """As large as a network of so many convolutions with neurons, sums and every profile."""
    generator = torch.Generator().manual_seed(seed)
    rows, series, costs = [], {}, tuple(built_in().values())
    for i in range(layers):
        spikes = torch.randint(0, 90_000, (4,), generator=generator)
        block = f"features.stage{i // 10}.block{i % 10}"
        rows.append(LayerRow(f"{block}.convolution", "synapse", steps=4, sops=float(spikes[0] * 576), dense_macs=1e8, rate=0.1))
        mean = float(spikes.sum()) / 100
        neuron = LayerRow(f"{block}.neuron", "neuron", neurons=65_536, steps=4, spikes=mean, rate=0.1, updates_active=9e4)
        rows += [neuron, LayerRow(f"{block}.sum", "sum", adds=mean, note="each spike of the shortcut is one accumulation")]
        none = torch.zeros(100, dtype=torch.int64)
        series[f"{block}.neuron"] = Series(spikes, none, none, none)
    return Report(name, 100, 4, tuple(rows), {HOSTILE: HOSTILE}, costs, series=series)


def page_of(report):
    return as_page(report, title=f"Energy of {report.name}", facts={HOSTILE: HOSTILE}, notices=[HOSTILE])


def opened(page, tmp_path):
    """What happens on a page when it is opened from disk and driven by a script of the test's own."""
    path = tmp_path / "page.html"
    path.write_text(page.replace("<script>\n", f"<script>{DRIVE}</script><script>\n", 1), encoding="utf-8")
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--window-size=1200,900"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000", "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "CONSOLE" not in done.stderr, done.stderr
    found = re.search(r'<pre id="result">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr
    return json.loads(unescape(found[1]))


@needs_browser
def test_a_page_is_sorted_switched_and_read_from_the_keyboard_without_an_error(report, tmp_path):
    hostile = LayerRow(HOSTILE, "neuron", neurons=9, steps=4, spikes=1e6)
    report = replace(report, layers=(*report.layers, hostile), name=HOSTILE)
    found = opened(page_of(replace(report, comparison=compare(report, report.comparison.baseline))), tmp_path)
    assert found["errors"] == []
    names = [row.name for row in report.layers]
    assert sorted(found["ascending"]) == sorted(names)
    assert found["descending"] == found["ascending"][::-1]
    assert (found["most"], found["sorted"]) == ("1,000,000", "descending")
    assert (found["before"], found["after"]) == (["loihi1"], ["cmos45-int8"])
    assert found["first"].startswith("act1: ")
    assert found["first"] != found["second"]
    assert found["told"] == found["last"] == f"{HOSTILE}: 1,000,000 spikes per sample ({HOSTILE})"
    assert found["closed"]
    assert found["hovered"] == found["first"]
    assert found["focusable"]
    assert not found["wide"]


@needs_browser
def test_a_comparison_is_as_usable(tmp_path):
    one = replace(deep("deep", 5), answers=(90, 100), uncounted={})
    other = replace(deep(HOSTILE, 5, seed=1), answers=(80, 100))
    found = opened(contest_page(contest([Contender(r.name, (r,)) for r in (one, other)]), title=HOSTILE), tmp_path)
    assert found["errors"] == []
    assert len(found["after"]) == 1
    assert "90.00 %" in found["first"]


def test_a_model_of_50_layers_under_every_profile_is_a_page_of_less_than_2_megabytes():
    report, baseline = deep("deep", 50), deep("deeper", 50, seed=1)
    profiles = (*report.profiles, load("cmos45-int8+lemaire"), load("cmos45-fp32+lemaire"))
    report = replace(report, profiles=profiles)
    page = page_of(replace(report, comparison=compare(report, baseline)))
    assert len(report.layers) == 150
    assert 100_000 < len(page.encode()) < 2_000_000
