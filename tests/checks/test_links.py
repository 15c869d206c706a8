"""The check of links finds each kind of fault, and nothing in a sound site."""

from pathlib import Path

import pytest
import requests

from checks import links
from checks.links import external, in_markdown, in_site, unanswered

ROOT = Path(__file__).parents[2]
SOUND = """<link rel="stylesheet" href="style.css"><h1 id="top">A</h1>
<a href="#top">up</a> <a href="sub/other.html#part">on</a> <a href="https://example.org/page">away</a>
<img src="data:image/png;,">"""
OTHER = '<h2 id="part">B</h2><a href="../index.html">back</a><a href="mailto:someone@example.org">write</a>'


@pytest.fixture
def site(tmp_path) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "index.html").write_text(SOUND)
    (tmp_path / "sub" / "other.html").write_text(OTHER)
    (tmp_path / "style.css").write_text("h1 { background: url('data:image/png;,') }")
    links._page.cache_clear()
    return tmp_path


def test_a_sound_site_has_no_faults(site):
    assert list(in_site(site)) == []
    assert external(site) == ["https://example.org/page"]


@pytest.mark.parametrize(
    ("html", "fault"),
    [
        ('<a href="gone.html">', "gone.html: no such file"),
        ('<a href="sub/other.html#gone">', "sub/other.html#gone: no such anchor"),
        ('<a href="#gone">', "#gone: no such anchor"),
        ('<img src="gone.png">', "gone.png: no such file"),
        ('<a href="https://nowhere/x">', "https://nowhere/x: no address of a page"),
        ('<script src="https://example.org/x.js">', "loads https://example.org/x.js from another host"),
        ('<link rel="stylesheet" href="//example.org/x.css">', "loads //example.org/x.css from another host"),
        ('<form action="https://example.org/">', "loads https://example.org/ from another host"),
    ],
)
def test_each_fault_of_a_page_is_found(site, html, fault):
    (site / "index.html").write_text(html)
    assert f"index.html: {fault}" in list(in_site(site))


@pytest.mark.parametrize("css", ["@import 'https://example.org/x.css';", 'a { background: url("//example.org/x.png") }'])
def test_a_style_that_loads_from_another_host_is_found(site, css):
    (site / "style.css").write_text(css)
    assert [fault.partition(": loads ")[0] for fault in in_site(site)] == ["style.css"]


def test_links_in_markdown_lead_to_files_and_code_is_no_link(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("[a](page.md#x) [b](https://example.org) [c](#here) `[d](gone)`\n```\n[e](gone)\n```\n[f](gone.md)\n")
    assert list(in_markdown([page], tmp_path)) == ["page.md: gone.md: no such file"]


def test_the_repository_has_no_dead_links_in_its_markdown():
    pages = [*ROOT.glob("*.md"), *(ROOT / "benchmarks").glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    assert list(in_markdown(pages, ROOT)) == []


@pytest.mark.parametrize(("status", "fault"), [(200, None), (403, None), (404, "status 404")])
def test_a_page_that_is_gone_is_told_and_a_host_that_refuses_programs_is_not(monkeypatch, status, fault):
    answer = requests.Response()
    answer.status_code = status
    monkeypatch.setattr(requests, "get", lambda *_, **__: answer)
    assert unanswered("https://example.org") == fault


def test_a_host_that_does_not_answer_is_told(monkeypatch):
    def refuse(*_, **__):
        raise requests.ConnectionError

    monkeypatch.setattr(requests, "get", refuse)
    assert unanswered("https://example.org") == "ConnectionError"
