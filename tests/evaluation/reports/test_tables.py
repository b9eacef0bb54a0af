"""Tables of results as text and as Markdown: missing numbers stay missing, and no name can break the page."""

from dataclasses import replace

import pytest

from evaluation.metrics import Estimate
from evaluation.reports.results import ResultRow
from evaluation.reports.tables import blocks, rank1_table, to_markdown, to_text
from evaluation.text_table import MISSING
from tests.fixtures.results import NAN, ROWS, evaluated, row


def test_text_says_how_much_was_scored_and_left_out() -> None:
    views, pooled = to_text(evaluated()).split("\n\n")
    assert views.splitlines()[-4:] == [
        "method                     NM",
        "GEI     100.00 [100.0, 100.0]",
        "chance level 33.33 (1 of 3 subjects)",
        "NM: 6 probes, 5 gallery sequences; left out: 1 of 6 comparisons without a match",
    ]
    assert pooled.splitlines() == [
        "Park: pooled, accuracy in %",
        "probe set  method  rank-1    95% interval  rank-5  rank-10  rank-20     mAP    mINP",
        "NM         GEI     100.00  [100.0, 100.0]  100.00   100.00   100.00  100.00  100.00",
        "chance level 33.33 (1 of 3 subjects)",
        "NM: 6 probes, 5 gallery sequences",
    ]


def test_text_shows_every_method_once_and_dashes_for_what_is_missing() -> None:
    assert to_text(ROWS).splitlines() == [
        "Park: rank-1 accuracy in %",
        "               without the identical view      | identical view alone",
        "method             NM      BG      CL    mean  |     NM      BG      CL    mean",
        "GEI             20.00   10.00    6.00   12.00  |  90.00   60.00   30.00   60.00",
        "encoder, tiny   75.00       -       -       -  | 100.00   88.89       -       -".replace("-", MISSING),
        "chance level 2.00 (1 of 50 subjects)",
    ]


def test_text_keeps_collections_apart() -> None:
    blocks = to_text([*ROWS, row("GEI", "walk", 1, 2, collection="Street")]).split("\n\n")
    assert [block.splitlines()[0].split(":")[0] for block in blocks] == ["Park", "Street"]
    assert blocks[0] == to_text(ROWS)
    assert "CL" not in blocks[1]


def test_the_heading_says_in_what_sense_a_method_is_zero_shot() -> None:
    assert evaluated(zero_shot="unseen subjects")[0].zero_shot == "unseen subjects"
    gei, *trained = [replace(row, zero_shot="unseen collection") if row.method != "GEI" else row for row in ROWS[2:]]
    first = "Park: rank-1 accuracy in %"
    assert to_text([gei, *trained]).splitlines()[0] == f"{first}, zero-shot on an unseen collection"
    both = [gei, *trained, replace(gei, method="other", zero_shot="unseen subjects")]
    assert to_text(both).splitlines()[0] == (
        f"{first}, encoder, tiny zero-shot on an unseen collection, other zero-shot on unseen subjects"
    )
    assert to_text([gei]).splitlines()[0] == first


def test_chance_level_is_a_range_over_unequal_galleries() -> None:
    unequal = [ROWS[0], replace(ROWS[1], num_gallery_subjects=10), replace(ROWS[2], num_gallery_subjects=0)]
    assert to_text(unequal).endswith("chance level 2.00 to 10.00 (1 of 50 to 10 subjects)")
    assert to_text(unequal[2:]).endswith(f"chance level {MISSING} (no gallery subjects)")


def test_text_refuses_two_results_for_one_cell() -> None:
    with pytest.raises(ValueError, match="Park: two results of GEI on NM"):
        to_text([ROWS[0], ROWS[0]])


NM = ResultRow(
    method="GEI",
    collection="Park",
    probe_set="NM",
    metrics={"rank1": Estimate(50, 40, 61)},
    excluding_identical=20.004,
    identical_only=90,
    num_probes=1100,
    num_gallery=2200,
    num_gallery_subjects=50,
    num_comparisons=11000,
    num_unmatched=12,
    zero_shot="unseen subjects",
)
CL = replace(NM, probe_set="CL", metrics={}, excluding_identical=NAN)


def test_pairs_have_three_tables() -> None:
    text = to_markdown([NM, CL]).replace(MISSING, "-")
    assert text.split("\n\n") == [
        "## Park: rank-1 accuracy in %, zero-shot on unseen subjects",
        "Without the identical view:",
        "| method | NM | CL | mean |\n| :-- | --: | --: | --: |\n| GEI | 20.00 | - | - |",
        "Identical view alone:",
        "| method | NM | CL | mean |\n| :-- | --: | --: | --: |\n| GEI | 90.00 | 90.00 | 90.00 |",
        "The same without the identical view, as far as it can be measured [95% interval over subjects]:",
        "| method | NM | CL |\n| :-- | --: | --: |\n| GEI | 50.00 [40.0, 61.0] | - - |",
        "- chance level 2.00 (1 of 50 subjects)\n- NM, CL: 1,100 probes, 2,200 gallery sequences; left out: "
        "12 of 11,000 comparisons without a match\n",
    ]


def test_a_pooled_gallery_has_one_and_collections_have_sections() -> None:
    metrics = NM.metrics | {"rank5": Estimate(70), "map": Estimate(33.333)}
    pooled = replace(NM, kind="pooled-other-views", metrics=metrics, identical_only=NAN)
    first, second = to_markdown([pooled, replace(pooled, collection="Street", zero_shot="")]).split("\n## ")
    assert "| NM | GEI | 50.00 | [40.0, 61.0] | 70.00 | - | - | 33.33 | - |".replace("-", MISSING) in first
    assert first.startswith("## Park: pooled other views, accuracy in %, zero-shot on unseen subjects\n\n| probe set |")
    assert second.startswith("Street: pooled other views, accuracy in %\n")


def test_names_cannot_break_the_page() -> None:
    text = to_markdown([replace(NM, method="a|b_c", collection="<Park>", probe_set="`x`", num_comparisons=0)])
    assert r"| a\|b\_c | 20.00 | 20.00 |" in text
    assert text.startswith(r"## \<Park\>: rank-1")
    assert r"| method | \`x\` | mean |" in text


def test_no_rows_are_no_text_and_two_for_one_cell_are_refused() -> None:
    assert to_markdown([]) == ""
    with pytest.raises(ValueError, match="two results of GEI on NM"):
        to_markdown([NM, NM])


def test_blocks_have_the_cells_of_the_tables() -> None:
    views, pooled = blocks(evaluated())
    assert (views.collection, pooled.collection) == ("Park", "Park")
    assert [table.title for table in views.tables] == [
        "Without the identical view",
        "Identical view alone",
        "The same without the identical view, as far as it can be measured [95% interval over subjects]",
    ]
    assert views.tables[0].cells[0] == ["method", "NM", "mean"]
    assert (pooled.tables[0].title, pooled.tables[0].labels) == ("", 2)
    assert pooled.notes == ["chance level 33.33 (1 of 3 subjects)", "NM: 6 probes, 5 gallery sequences"]


def test_the_table_of_rank_1_has_a_line_for_each_probe_set() -> None:
    assert rank1_table([*ROWS, *evaluated()]) == [
        ["collection", "protocol", "probe set", "GEI", "encoder, tiny"],
        ["Park", "view pairs", "NM", "83.34", "75.00"],
        ["Park", "view pairs", "BG", "10.00", MISSING],
        ["Park", "view pairs", "CL", "6.00", MISSING],
        ["Park", "pooled", "NM", "100.00", MISSING],
    ]
