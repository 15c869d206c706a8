"""The pages in a real browser, by the check that `make pages` runs on reports of every kind; and small."""

from dataclasses import replace

import pytest

from checks.chromium import PROGRAMS, launched, program
from checks.pages import examined
from checks.report_kinds import deep_report, dense_report, hostile_report, quantised_report, spiking_report
from neurodeploy_energy.price.account import compare
from neurodeploy_energy.price.contest import Contender, contest
from neurodeploy_energy.price.profiles import load
from neurodeploy_energy.report import as_page
from neurodeploy_energy.report.versus import as_page as contest_page

BROKEN = """<!doctype html><title>t</title><style>.faint { color: #bbb } button { outline: none !important }</style>
<p class="faint">hardly to be read</p><div style="width: 3000px">wide</div><button>a</button><button tabindex="-1">b</button>
<script>console.log("said"); fetch("http://127.0.0.1:9/x").catch(() => 0);
const fileName = (one) => one, tip = { hidden: true };</script>"""


@pytest.fixture(scope="module")
def browser():
    if program() is None:
        pytest.skip(f"no Chromium is installed (looked for {', '.join(PROGRAMS)})")
    with launched() as one:
        yield one


@pytest.fixture
def opened(browser, tmp_path):
    """A function that opens a text as a page."""

    def open_it(text, **window):
        path = tmp_path / "page.html"
        path.write_text(text, encoding="utf-8")
        return browser.opened(path, **window)

    return open_it


def page_of(report):
    return as_page(report, title=f"Energy of {report.name}", facts={report.name: report.name}, notices=[report.name])


@pytest.mark.parametrize(("width", "dark"), [(390, True), (1280, False)])
def test_a_report_of_hostile_names_is_used_from_the_keyboard_alone_and_asks_for_nothing(opened, width, dark):
    report = hostile_report()
    with opened(page_of(replace(report, comparison=compare(report, report))), width=width, dark=dark) as page:
        assert examined(page) == []
        assert page.requests[0].startswith("file:")


def test_a_comparison_is_as_usable_on_a_phone(opened):
    several = [dense_report(), spiking_report(), quantised_report()]
    with opened(contest_page(contest([Contender(r.name, (r,)) for r in several]), title="three"), width=390) as page:
        assert examined(page) == []


def test_a_table_is_sorted_by_its_words_too(opened):
    names = "[...document.querySelectorAll('[aria-label=\"Layer by layer\"] tbody tr')].map((row) => row.cells[0].textContent)"
    with opened(page_of(spiking_report())) as page:
        page.value("document.querySelector('[aria-label=\"Layer by layer\"] thead button').focus()")
        page.press("Enter")
        ascending = page.value(names)
        page.press("Enter")
        assert ascending == sorted(ascending, key=str.casefold)
        assert page.value(names) == ascending[::-1]


def test_the_check_finds_what_is_wrong_with_a_page(opened):
    with opened(BROKEN) as page:
        found = "\n".join(examined(page))
    for fault in (
        "hardly to be read: 1.92: too little contrast",
        "px wider than the window",
        "BUTTON a: has the focus and does not show it",
        ">b</button>: is not reached with Tab",
        "asks for http://127.0.0.1:9/x",
        "says: said",
    ):
        assert fault in found, found


def test_a_model_of_50_layers_under_every_profile_is_a_page_of_less_than_2_megabytes():
    report, baseline = deep_report(), deep_report("deeper", 52)
    profiles = (*report.profiles, load("cmos45-int8+lemaire"), load("cmos45-fp32+lemaire"))
    report = replace(report, profiles=profiles)
    page = page_of(replace(report, comparison=compare(report, baseline)))
    assert len(report.layers) == 100
    assert 100_000 < len(page.encode()) < 2_000_000
