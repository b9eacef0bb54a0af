"""The two forms of a table: columns for a terminal, and Markdown that no name can break."""

from evaluation.text_table import MISSING, escape, markdown_table, number, plain_table

ROWS = [["method", "NM", "CL"], ["GEI", "5.00", "100.00"], ["a|b_c", MISSING, "7.25"]]


def test_plain_columns_are_as_wide_as_their_widest_cell() -> None:
    assert plain_table(ROWS).splitlines() == [
        "method    NM      CL",
        "GEI     5.00  100.00",
        f"a|b_c      {MISSING}    7.25",
    ]
    assert plain_table([["a", "b"], ["long", "x"]], labels=2).splitlines() == ["a     b", "long  x"]


def test_markdown_aligns_numbers_right_and_escapes_names() -> None:
    assert markdown_table(ROWS).splitlines() == [
        "| method | NM | CL |",
        "| :-- | --: | --: |",
        "| GEI | 5.00 | 100.00 |",
        rf"| a\|b\_c | {MISSING} | 7.25 |",
    ]
    assert markdown_table(ROWS, labels=2).splitlines()[1] == "| :-- | :-- | --: |"
    assert escape("<b> [x](y) `*#*`") == r"\<b\> [x](y) \`\*\#\*\`"


def test_a_number_that_is_missing_is_a_dash() -> None:
    assert (number(2.005), number(float("nan"))) == ("2.00", MISSING)
