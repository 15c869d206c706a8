"""Messages that quote what is in foreign files."""

import pytest

from neurodeploy.io.errors import Failure, UserError


@pytest.mark.parametrize("kind", [UserError, Failure])
def test_a_message_quotes_no_word_at_any_length_and_no_control_character(kind):
    said = str(kind(f"my.toml: kind: '{'[' * 9000}]' found,\x1b[31m red\x00 expected\nsecond line"))
    assert len(said) < 400
    assert said.startswith("my.toml: kind: '[[[")
    assert said.endswith("[]' found,\\x1b[31m red\\x00 expected\nsecond line")


def test_a_message_of_ordinary_words_is_as_it_was_written():
    said = "runs/a b.toml: steps: 'four' found, µJ 4 × 4 expected; " + "word " * 300
    assert str(UserError(said)) == said
    assert UserError(said).args == (said,)


def test_what_is_no_text_is_kept():
    assert UserError(3, "x").args == (3, "x")
    assert UserError().args == ()
