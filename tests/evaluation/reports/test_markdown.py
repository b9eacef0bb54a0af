"""Results as Markdown: the same texts as in the plain tables, and nothing that a name could break."""

from dataclasses import replace

import pytest

from evaluation.reports.markdown import to_markdown
from evaluation.reports.tables import ResultRow
from evaluation.text_table import MISSING

NAN = float("nan")
NM = ResultRow(
    method="GEI",
    collection="Park",
    probe_set="NM",
    rank1=50,
    rank1_low=40,
    rank1_high=61,
    excluding_identical=20.004,
    identical_only=90,
    num_probes=1100,
    num_gallery=2200,
    num_gallery_subjects=50,
    num_comparisons=11000,
    num_unmatched=12,
    zero_shot="unseen subjects",
)
CL = replace(NM, probe_set="CL", rank1=NAN, rank1_low=NAN, rank1_high=NAN, excluding_identical=NAN)


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
    pooled = replace(NM, kind="pooled-other-views", rank5=70, map=33.333, identical_only=NAN)
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
