"""What is in a store as one page to look at: report.html, which needs no other file and runs nothing.

The numbers are those of the manifest, the pictures contact sheets (datasets/reports/contact_sheet.py). Names of
folders and
details of rejects come from other people's data: all text passes through `_text`, and the page forbids the browser to
load or run anything. This file counts nothing.
"""

import base64
from collections.abc import Mapping
from html import escape
from pathlib import Path

from datasets.reports import contact_sheet
from datasets.reports.text import MISSING, lengths_in_words, percent, place_of, printable
from datasets.schema.rows import SEQUENCE_SCHEMA
from datasets.storage import Place
from datasets.store.reader import Manifest, collection_of, read_files
from datasets.store.summary import COUNTED, LENGTH_STARTS, length_bins

_STYLE = Path(__file__).with_name("report.css")
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_NAMED = 14  # values of a label that are named
_COMPLETE, _MOSTLY = 0.005, 0.9  # as near to a published count is complete; above this share it is nearly there
_LEGEND = (
    f"Kept in the store against the published counts: <b class='full'>within {100 * _COMPLETE}%</b>, "
    f"<b class='part'>at least {100 * _MOSTLY:.0f}%</b>, <b class='low'>less</b>, <b class='over'>more</b>. "
    "A dash is a number that is not known. Published counts are those of silhouettes; other modalities stand below, "
    "and what was lost is counted over all of them."
)
_SHEET = (
    "Each line is one walk from its first to its last frame, drawn from the contours in the store; small numbers are "
    "those of the frames on disk. All is well where heads are up, bodies are whole and stand out, and legs move."
)


def write_page(store: Place, manifest: Manifest) -> None:
    """Draw a contact sheet of each collection from the shards of a store, and write its report.html."""
    sheets = {}
    for name in manifest["collections"]:
        mine = [file for file in manifest["shards"] if collection_of(file) == name]
        rows = read_files(store, contact_sheet.some_files(mine), contact_sheet.COLUMNS, SEQUENCE_SCHEMA)
        sheets[name] = contact_sheet.contact_sheet(rows)
    (store / "report.html").write(page(manifest, sheets).encode("utf-8"))


def page(manifest: Manifest, sheets: Mapping[str, bytes | None]) -> str:
    """The page as HTML. sheets: a PNG for each collection that has one."""
    collections = manifest["collections"]
    style = _STYLE.read_text(encoding="utf-8")
    sections = [_section(place, name, collections[name], sheets.get(name)) for place, name in enumerate(collections)]
    return "\n".join(
        [
            f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>Ingest report</title>\n'
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<style>\n{style}</style>\n</head>\n<body>",
            f"<h1>Ingest report</h1>\n<p class='faint'>{_totals(manifest)}</p>",
            _overview(collections),
            *sections,
            "</body>\n</html>\n",
        ]
    )


def _text(text: object) -> str:
    """Any text as HTML that shows it."""
    return escape(printable(str(text)))


def _totals(manifest: Manifest) -> str:
    entries = manifest["collections"].values()
    sequences, frames = (sum(entry[what] for entry in entries) for what in ("sequences", "frames"))
    size = sum(file["bytes"] for file in manifest["shards"]) / 1e6
    said = [f"{len(entries)} collection{'s' * (len(entries) != 1)}", f"{sequences:,} sequences", f"{frames:,} frames"]
    said.append(f"{size:,.1f} MB in {len(manifest['shards']):,} shards")
    return " · ".join([*said, f"schema version {_text(manifest['schema_version'])}"])


def _overview(collections: Mapping[str, dict]) -> str:
    """A line a collection: found against published, and what was lost."""
    heads = "".join(f"<th class='number'>{what}</th>" for what in ("Sequences", "Subjects", "Frames"))
    heads += "<th class='number'>Rejected sequences</th><th class='number'>Dropped frames</th>"
    lines = []
    for place, (name, entry) in enumerate(collections.items()):
        others = {one: part for one, part in entry["modalities"].items() if one != "silhouette"}
        compared = entry["modalities"].get("silhouette", entry if not others else dict.fromkeys(COUNTED))
        cells = "".join(_against(compared[what], entry["published"][what]) for what in COUNTED)
        cells += _lost_share(entry["rejected_sequences"], entry["sequences"])
        cells += _lost_share(entry["dropped_frames"], entry["frames"])
        lines.append(f"<tr><th><a href='#c{place}'>{_text(name)}</a></th>{cells}</tr>")
        for modality, part in others.items():
            cells = "".join(_against(part[what], {"count": None}) for what in COUNTED)
            lines.append(f"<tr><th>{_text(name)}, {_text(modality)}</th>{cells}<td></td><td></td></tr>")
    body = "\n".join(lines)
    table = f"<table>\n<thead><tr><th>Collection</th>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"
    return f"<div class='scroll'>{table}</div>\n<p class='faint'>{_LEGEND}</p>"


def _against(found: int | None, published: dict) -> str:
    number = MISSING if found is None else f"{found:,}"
    if published["count"] is None:
        return f"<td class='number'>{number}<small>not published</small></td>"
    of = f"of {published['count']:,}"
    if (share := published["share"]) is None:
        return f"<td class='number'>{number}<small>{of}</small></td>"
    kind = _kind(share)
    bar = f"<span class='share'><i class='{kind}' style='width:{100 * min(share, 1):.1f}%'></i></span>"
    return f"<td class='number'>{number}<small>{of} · <b class='{kind}'>{percent(share)}</b></small>{bar}</td>"


def _kind(share: float) -> str:
    if abs(share - 1) <= _COMPLETE:
        return "full"
    return "over" if share > 1 else "part" if share >= _MOSTLY else "low"


def _lost_share(lost: int, kept: int) -> str:
    if not lost:
        return "<td class='number'>0</td>"
    return f"<td class='number'><b class='low'>{lost:,}</b><small>{percent(lost / (lost + kept))}</small></td>"


def _section(place: int, name: str, entry: dict, sheet: bytes | None) -> str:
    """Everything about one collection."""
    known = {"Cite": "citation", "Access": "access", "Read from": "root"}
    about = {what: _text(entry[key]) for what, key in known.items() if entry.get(key)}
    for modality, read in entry.get("other_modalities", {}).items():
        about[f"Read from ({_text(modality)})"] = _text(read["root"])
    parts = [f"<h2 id='c{place}'>{_text(name)}</h2>", f"<p>{_text(entry.get('title', ''))}</p>"]
    parts += [_listed(about | {"Split": _splits(entry), "Difference": _difference(entry)}), _picture(name, sheet)]
    if entry["sequences"]:
        parts += ["<h3>Lengths of sequences in frames</h3>", length_chart(entry["lengths"], entry["sequences"])]
        values = {f"{what} ({entry[what]['distinct']:,})": _values(**entry[what]) for what in ("conditions", "views")}
        parts += ["<h3>Conditions and views</h3>", _listed(values)]
    if entry["labels"]:
        values = {
            f"{_text(label)} ({len(counts):,})": _values(len(counts), counts)
            for label, counts in entry["labels"].items()
        }
        parts += ["<h3>Labels</h3>", _listed(values)]
    parts += [_rejects("Rejected sequences", entry["reject_reasons"], entry["reject_examples"])]
    parts += [_rejects("Dropped frames", entry["dropped_frame_reasons"], entry["dropped_frame_examples"])]
    return "\n".join(part for part in parts if part)


def _splits(entry: dict) -> str:
    said = []
    for split, part in entry["splits"].items():
        subjects = "" if part["subjects"] is None else f", {part['subjects']:,} subjects"
        said.append(f"<span>{_text(split)} <b>{part['sequences']:,}</b> sequences{subjects}</span>")
    if entry["anonymous_sequences"]:
        said.append(f"<span>of these <b>{entry['anonymous_sequences']:,}</b> of people without a name</span>")
    return " ".join(said) or "no sequence was kept"


def _difference(entry: dict) -> str:
    """By how much the store falls short of the published counts, or exceeds them."""
    said = []
    for what in COUNTED:
        difference = entry["published"][what]["difference"]
        if difference:
            said.append(f"<span><b>{abs(difference):,}</b> {what} {'fewer' if difference < 0 else 'more'}</span>")
    if said:
        return f"{' '.join(said)} than published"
    known = [what for what in COUNTED if entry["published"][what]["difference"] == 0]
    return f"none: as many {' and '.join(known)} as published" if known else "not known: no count is published"


def _picture(name: str, sheet: bytes | None) -> str:
    if sheet is None:
        return "<p class='faint'>No walk to draw.</p>"
    data = base64.b64encode(sheet).decode()
    image = f"<img alt='walks of {_text(name)}' src='data:image/png;base64,{data}'>"
    return f"<h3>Silhouettes</h3>\n<p class='faint'>{_SHEET}</p>\n{image}"


def _values(distinct: int, most_frequent: dict[str, int]) -> str:
    """The most frequent values with their counts, in order of name."""
    named = sorted(list(most_frequent.items())[:_NAMED])
    said = " ".join(f"<span>{_text(value)}: <b>{count:,}</b></span>" for value, count in named)
    return said + (f"and {distinct - len(named):,} less frequent ones" if distinct > len(named) else "")


def _listed(items: Mapping[str, str]) -> str:
    """Terms and what is said of them, both HTML already."""
    return "<dl>\n" + "\n".join(f"<dt>{term}</dt><dd>{said}</dd>" for term, said in items.items()) + "\n</dl>"


def _rejects(title: str, reasons: dict[str, int], examples: dict[str, list[dict]]) -> str:
    """A table of reasons with their examples, or nothing where nothing was lost."""
    if not reasons:
        return ""
    lines = []
    for reason, count in reasons.items():
        span = f"rowspan='{len(examples[reason])}'"
        first = f"<td {span}>{_text(reason)}</td><td class='number' {span}>{count:,}</td>"
        for one in examples[reason]:
            said = f"{_text(place_of(one))}<small>{_text(one['detail'] or '')}</small>"
            lines.append(f"<tr>{first}<td class='text'>{said}</td></tr>")
            first = ""
    body = "\n".join(lines)
    heads = "<th>Reason</th><th class='number'>Count</th><th>For example</th>"
    table = f"<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"
    return f"<h3>{title}: {sum(reasons.values()):,}</h3>\n<div class='scroll'>{table}</div>"


_BAR, _GAP = 20, 3  # width of a bin and of the gap after it
_LEFT, _TOP, _HEIGHT = 8, 40, 130
_BASE = _TOP + _HEIGHT
_WIDTH = 2 * _LEFT + len(LENGTH_STARTS) * _BAR
_TICKS = (1, 2, 5, 10, 20, 40, 80, 160, 320, 640, 1280)  # of LENGTH_STARTS


def length_chart(lengths: dict, sequences: int) -> str:
    """An SVG element and a sentence. lengths: of a Summary's result; sequences: how many there are, at least one."""
    highest = max(lengths["histogram"].values())
    bars = []
    for place, (name, start) in enumerate(zip(length_bins(), LENGTH_STARTS, strict=True)):
        if count := lengths["histogram"].get(name):
            bars.append(_bar(place, name, count, highest, start < lengths["window"]))
    ticks = [_tick(start) for start in _TICKS]
    at = _left(LENGTH_STARTS.index(lengths["window"])) - _GAP / 2
    window = f"<line class='window' x1='{at}' x2='{at}' y1='4' y2='{_BASE}'/>"
    window += f"<text x='{at - 5}' y='14' text-anchor='end'>shorter than a training window</text>"
    axis = f"<line x1='{_LEFT}' x2='{_WIDTH - _LEFT}' y1='{_BASE}' y2='{_BASE}'/>"
    said = lengths_in_words(lengths, sequences)
    return (
        f"<p>{said}</p>\n<svg viewBox='0 0 {_WIDTH} {_BASE + 20}' role='img' aria-label='{said}'>\n"
        + "\n".join([*bars, axis, *ticks, window])
        + "\n</svg>"
    )


def _left(place: int) -> int:
    return _LEFT + place * _BAR


def _bar(place: int, name: str, count: int, highest: int, is_short: bool) -> str:
    height = max(1.0, _HEIGHT * count / highest)  # a single sequence is a line that can be seen
    x, y = _left(place), _BASE - height
    kind = " class='short'" if is_short else ""
    middle = min(max(x + (_BAR - _GAP) / 2, 60), _WIDTH - 60)  # a label at an end stays within the picture
    label = f"<text x='{middle}' y='{y - 4:.1f}' text-anchor='middle'>{count:,} sequences</text>"
    return (
        f"<g><title>{name} frames: {count:,} sequences</title>"
        f"<rect{kind} x='{x}' y='{y:.1f}' width='{_BAR - _GAP}' height='{height:.1f}'/>"
        f"{label if count == highest else ''}</g>"
    )


def _tick(start: int) -> str:
    x = _left(LENGTH_STARTS.index(start)) - _GAP / 2
    mark = f"<line x1='{x}' x2='{x}' y1='{_BASE}' y2='{_BASE + 4}'/>"
    return f"{mark}<text x='{x}' y='{_BASE + 17}' text-anchor='middle'>{start}</text>"
