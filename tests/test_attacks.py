"""The table of docs/attacks.md lists the tests that hold each attack."""

from tests import attacks


def test_the_table_lists_the_tests_that_exist():
    text = attacks.PAGE.read_text()
    assert attacks.page(text) == text, "run: python -m tests.attacks"


def test_every_attack_says_what_happens():
    assert [row for row in attacks.rows() if not row[1]] == []


def test_sixty_attacks_are_held():
    assert len(list(attacks.rows())) >= 60
