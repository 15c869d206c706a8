"""JSON that no terminal takes for commands, and that reads back as it was."""

import json

from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.io.errors import one_line
from neurodeploy.io.json_text import escaped, json_text

ODD = "\x1b[31m\x9b\u202e\udc80 µJ 電 \n\t"


@given(st.dictionaries(st.text(), st.text() | st.floats(allow_nan=False) | st.none(), max_size=4), st.sampled_from([None, 2]))
def test_any_text_reads_back_as_it_was_from_printable_lines(content, indent):
    text = json_text(content, indent)
    assert json.loads(text) == content
    assert all(line.isprintable() for line in text.split("\n"))


def test_letters_stay_letters_and_everything_else_is_an_escape():
    text = json_text({ODD: 1})
    assert "µJ 電" in text
    assert "\\u001b[31m\\u009b\\u202e\\udc80" in text


def test_letters_that_an_encoding_does_not_know_are_escapes_too():
    text = escaped(json_text(["µJ 電"]), "latin-1")
    assert text.encode("latin-1")
    assert json.loads(text) == ["µJ 電"]


@given(st.text())
def test_a_name_is_one_printable_line(name):
    assert one_line(name).isprintable()
