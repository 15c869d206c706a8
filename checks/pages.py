"""Reports opened in Chromium, wide and on a phone, dark and light, and gone through with the keyboard alone.

    python -m checks.pages --folder runs/pages [--run runs/demo] [REPORT.html …]

Nothing may need to be scrolled sideways, every control is reached with Tab, shows that it has the focus and does what it says,
every text stands out from its ground, what is saved is what the page shows, and no request leaves the page. Screenshots are for
people to look at. Exit code 1: something is wrong.
"""

import argparse
import csv
import io
import json
import sys
from pathlib import Path

from checks.chromium import Browser, Page, launched
from checks.report_kinds import write_reports

WINDOWS = ((1280, False), (1280, True), (390, False), (390, True))
"""Width, and whether it is dark."""
_CONTRAST, _LETTERS = 4.5, 10.0
"""Least contrast of a text against its ground (WCAG 2.2, level AA), and least height of a chart's letters in CSS pixels."""

_SCRIPT = Path(__file__).with_suffix(".js")


def examined(page: Page) -> list[str]:
    """What is wrong with an open page, one sentence each."""
    page.value(_SCRIPT.read_text("utf-8"))
    found = page.value(f"looked({_CONTRAST}, {_LETTERS})")
    faults = [f"{text}: too little contrast" for text in found["faint"]]
    faults += [f"{text} px: too small in its chart" for text in found["small"]]
    faults += [f"{text}: runs out of its chart" for text in found["outside"]]
    faults += [f"{found['wide']} px wider than the window"] if found["wide"] > 0 else []
    for used in (_tabs, _links, _profiles, _sorting, _columns, _values, _files, _tables, _pictures):
        try:
            faults += used(page)
        except TimeoutError as error:  # what was to be saved is not
            faults.append(str(error))
    own, *others = page.requests
    faults += [f"asks for {url[:80]}" for url in others if not url.startswith(("data:", "blob:")) and url.split("#")[0] != own]
    return faults + [f"says: {text[:200]}" for text in page.complaints]


def _tabs(page: Page) -> list[str]:
    """Every control is reached with Tab from the top, in the order of the page, and shows it."""
    page.value("(document.activeElement.blur(), scrollTo(0, 0), window.known = controls(), null)")
    count, reached, faults = page.value("known.length"), list[int](), list[str]()
    for _ in range(count):
        page.press("Tab")
        number, marked, name = page.value("focused(known)")
        reached.append(number)
        faults += [] if marked else [f"{name}: has the focus and does not show it"]
    if reached != sorted(reached):
        faults.append("Tab goes through the controls in another order than they stand in")
    missed = page.value(f"known.filter((_, i) => !{reached}.includes(i)).map((one) => one.outerHTML.slice(0, 80))")
    return faults + [f"{text}: is not reached with Tab" for text in missed]


def _links(page: Page) -> list[str]:
    """The contents lead to what they name."""
    if not page.value("focus(document.querySelector('nav li:last-child a'))"):
        return []
    page.press("Enter")
    top = page.value("document.querySelector(location.hash)?.getBoundingClientRect().top")
    shown = top is not None and -2 <= top < page.value("innerHeight")
    return [] if shown else [f"the last link of the contents leads to {top}"]


def _profiles(page: Page) -> list[str]:
    """The arrow keys choose the profile."""
    if page.value("(document.getElementById('profile')?.length ?? 0) < 2 || !focus(document.getElementById('profile'))"):
        return []
    before = page.value("profiles()")
    page.press("ArrowDown")
    after = page.value("profiles()")
    page.press("ArrowUp")
    fine = len(before) == len(after) == 1 and before != after and page.value("profiles()") == before
    return [] if fine else [f"the arrow keys change the profile from {before} to {after}"]


def _sorting(page: Page) -> list[str]:
    """Enter sorts down, Space up again, by a column of numbers of every table."""
    faults = []
    for i in range(page.value("tables().length")):
        if not page.value(f"focus(byNumber(tables()[{i}]))"):
            continue
        for key, said, sign in (("Enter", "descending", -1), (" ", "ascending", 1)):
            page.press(key)
            values, order = page.value(f"numbers(tables()[{i}])")
            if values != sorted(values, key=lambda value, sign=sign: sign * value):
                faults.append(f"table {i}: {key!r} does not sort it")
            if order != said:
                faults.append(f"table {i}: says that it is sorted {order}, {said} expected")
    return faults


def _columns(page: Page) -> list[str]:
    """The list of columns opens with Enter; Space takes a column away and brings it back."""
    if not page.value("focus(document.querySelector('.tools summary'))"):
        return []
    table = "document.querySelector('.tools:has(summary) + .scroll')"
    counts = [page.value(f"headings({table})")]
    page.press("Enter")
    page.press("Tab")
    for _ in range(2):
        page.press(" ")
        counts.append(page.value(f"headings({table})"))
    page.value("focus(document.querySelector('.tools summary'))")
    page.press("Enter")
    fine = counts[0] == counts[1] + 1 == counts[2]
    return [] if fine else [f"columns shown before, without one, and with it again: {counts}"]


def _values(page: Page) -> list[str]:
    """The arrow keys go through the values of a chart, which are said aloud."""
    faults = []
    for i in range(page.value("charts().length")):
        if not page.value(f"charts()[{i}].querySelector('.mark') !== null && focus(charts()[{i}])"):
            continue
        page.press("ArrowRight")
        first = page.value("tip.textContent")
        page.press("End")
        last, told, hidden = page.value("[tip.textContent, document.getElementById('told').textContent, tip.hidden]")
        page.press("Escape")
        if not first or hidden or told != last or not page.value("tip.hidden"):
            faults.append(f"chart {i}: tells {first!r}, {last!r} and {told!r}")
    return faults


_COUNTS = ("spikes", "sops", "macs", "rate")


def _files(page: Page) -> list[str]:
    """What the page carries is saved whole; its CSV says of every layer what its JSON says."""
    saved: dict[str, str] = {}
    for i, name in enumerate(page.value("all('[data-file]').map((one) => one.dataset.file)")):
        page.value(f"focus(all('[data-file]')[{i}])")
        page.press("Enter")
        saved[name] = page.saved(name).read_bytes().decode("utf-8")
    if "report.json" not in saved:
        return []
    layers = json.loads(saved["report.json"])["layers"]
    rows = list(csv.DictReader(io.StringIO(saved["report.csv"])))
    counts = [[float(row[field]) for field in _COUNTS] for row in rows]
    same = counts == [[layer[field] for field in _COUNTS] for layer in layers]
    return [] if same else ["report.csv: has other numbers than report.json"]


def _tables(page: Page) -> list[str]:
    """The first table as CSV has the rows and the columns that are shown."""
    if not page.value("focus(document.querySelector('.tools:has(+ .scroll) button'))"):
        return []
    page.press(" ")
    name = page.value("`${fileName(document.querySelector('.tools + .scroll').getAttribute('aria-label'))}.csv`")
    rows = list(csv.reader(io.StringIO(page.saved(name).read_text("utf-8"))))
    shown = page.value("cells(document.querySelector('.tools + .scroll'))")
    plain = [[cell.removeprefix("'") for cell in row] for row in rows]  # of what would be a formula
    return [] if plain == shown else [f"{name}: saved as {plain[:2]}, shown as {shown[:2]}"]


def _pictures(page: Page) -> list[str]:
    """The first chart as PNG is a picture that shows something."""
    from PIL import Image

    if not page.value("focus(pictures()[0]?.querySelector('.tools button'))"):
        return []
    page.press("Enter")
    name = page.value("`${fileName(caption(pictures()[0]))}.png`")
    with Image.open(page.saved(name)) as image:
        colours = len(image.convert("RGB").getcolors(1 << 24) or ())
        return [] if min(image.size) > 100 and colours > 8 else [f"{name}: a picture of {image.size} in {colours} colours"]


def check(browser: Browser, path: Path, pictures: Path, name: str) -> int:
    """Examine one file in every window; how many faults there are."""
    count = 0
    for width, dark in WINDOWS:
        with browser.opened(path, width=width, dark=dark) as page:
            page.picture(pictures / f"{name}-{width}-{'dark' if dark else 'light'}.png")
            faults = examined(page)
        count += len(faults)
        print(f"{name}, {width} px, {'dark' if dark else 'light'}: {'faulty' if faults else 'good'}", flush=True)
        for fault in faults:
            print(f"  {fault}", flush=True)
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/pages"), help="for the reports and the screenshots")
    parser.add_argument("--run", type=Path, help="a run folder, whose report.html is looked at too")
    parser.add_argument("pages", nargs="*", type=Path, help="pages to look at instead of reports of every kind")
    given = parser.parse_args()
    pages = {path.resolve().parent.name: path for path in given.pages} or write_reports(given.folder)
    if given.run is not None:
        pages["run"] = given.run / "report.html"
    for path in pages.values():
        if not path.is_file():
            sys.exit(f"{path}: no such page")
    try:
        with launched() as browser:
            count = sum(check(browser, path, given.folder / "screenshots", name) for name, path in pages.items())
    except FileNotFoundError as error:
        sys.exit(f"error: {error}")
    print(f"{len(pages)} pages in {len(WINDOWS)} windows each: {count} faults; screenshots in {given.folder / 'screenshots'}")
    sys.exit(1 if count else 0)


if __name__ == "__main__":
    main()
