"""A store's manifest in words for the terminal: counts against the published ones, losses with their reasons.

datasets/reports/page.py shows the same numbers as a page.
"""

from collections.abc import Mapping
from typing import Any

from datasets.schema.reading import is_doubtful
from datasets.store.reader import Manifest
from datasets.store.summary import COUNTED

MISSING = "\u2013"  # en dash: an unknown number

_NAMED = 4  # most frequent conditions, views or values of a label that a line names
_LONGEST = 60  # characters of a path or a detail; longer ones are cut


def describe(manifest: Manifest) -> str:
    """A few lines per collection: counts against the published ones, lengths, labels, and rejects by reason."""
    shards = manifest["shards"]
    lines = [line for name, entry in manifest["collections"].items() for line in collection_lines(name, entry)]
    frames = sum(entry["frames"] for entry in manifest["collections"].values())
    size = sum(file["bytes"] for file in shards)
    each = f", {size / frames:.1f} bytes a frame" if frames else ""
    sources = {name: entry.get("citation") for name, entry in manifest["collections"].items()}
    cited = [f"cite {name}: {source}" for name, source in sources.items() if source]
    lines += [*cited, f"{len(shards)} shards, {size / 1e6:.1f} MB{each}"]
    return "\n".join(printable(line) for line in lines)


def losses(manifest: Manifest, tolerated: float) -> list[str]:
    """A line for each collection with a larger share of rejected sequences than tolerated (0 to 1)."""
    lines = []
    for name, entry in manifest["collections"].items():
        found = entry["sequences"] + entry["rejected_sequences"]
        if entry["rejected_sequences"] > tolerated * found:
            share = 100 * entry["rejected_sequences"] / found
            lines.append(
                f"{share:.1f}% of the sequences of {name} were rejected, more than the {100 * tolerated:g}% of "
                "--max-rejects: the reasons are above, and sequence by sequence in the store's rejects"
            )
    return lines


def percent(share: float) -> str:
    """A share in percent; 0% and 100% are exact, never rounded."""
    if share in (0, 1):
        return f"{100 * share:.0f}%"
    rounded = f"{100 * share:.1f}%"
    return {"0.0%": "<0.1%", "100.0%": ">99.9%" if share < 1 else ">100%"}.get(rounded, rounded)


def printable(text: str) -> str:
    """The text without characters that control a terminal or reverse the direction of writing."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def lengths_in_words(lengths: Mapping[str, Any], sequences: int) -> str:
    """One line on `lengths`, an entry of a Summary's result, of at least one sequence."""
    said = f"{lengths['min']:,} to {lengths['max']:,} frames, median {lengths['median']:,g}"
    if lengths["min"] == lengths["max"]:
        said = f"{lengths['min']:,} frame{'s' * (lengths['min'] != 1)} each"
    if short := lengths["shorter_than_window"]:
        said += f"; {short:,} ({percent(short / sequences)}) shorter than the {lengths['window']} of a training window"
    return said


def path_of(reject: Mapping[str, Any]) -> str:
    """The path of an example below the collection's root: a sequence's folder, or one frame in it."""
    return reject["source"] if reject["frame"] is None else f"{reject['source']}/{reject['frame']}"


def collection_lines(name: str, entry: Mapping[str, Any]) -> list[str]:
    """Lines on one collection. entry: as in a manifest, or the result of a Summary."""
    several = set(entry["modalities"]) - {"silhouette"}
    counts = _counts(entry, {} if several else entry["published"])  # published counts are those of silhouettes
    splits = ", ".join(f"{split} {part['sequences']:,}" for split, part in entry["splits"].items())
    lines = [f"{name}: {', '.join(counts)} ({splits or 'no sequence kept'})"]
    for modality, part in entry["modalities"].items() if several else ():
        published = entry["published"] if modality == "silhouette" else {}
        lines.append(f"  {modality}: {', '.join(_counts(part, published))}")
    if entry["sequences"]:
        lines += _content(entry)
    for kind, what in (("sequences rejected", "reject"), ("frames dropped", "dropped_frame")):
        lines += _lost(kind, entry[f"{what}_reasons"], entry[f"{what}_examples"])
    return lines


def _counts(found: Mapping[str, Any], published: Mapping[str, Any]) -> list[str]:
    """The counts of a collection, or of one of its modalities, each against the published one if there is one."""
    return [_against(what, found[what], published.get(what, {"count": None})) for what in COUNTED]


def _content(entry: Mapping[str, Any]) -> list[str]:
    """A line each for lengths, conditions, views and every label."""
    rows = [("lengths", lengths_in_words(entry["lengths"], entry["sequences"]))]
    if entry["anonymous_sequences"]:
        rows.append(("identity", f"{entry['anonymous_sequences']:,} sequences of anonymous people"))
    rows += [(what, _most_frequent(**entry[what])) for what in ("conditions", "views")]
    rows += [(f"label {name}", _most_frequent(len(values), values)) for name, values in entry["labels"].items()]
    rows += [(f"read, {aspect}", _most_frequent(len(values), values)) for aspect, values in _to_see(entry["readings"])]
    width = max(len(what) for what, _ in rows)
    return [f"  {what:<{width}}  {said}" for what, said in rows]


def _to_see(readings: Mapping[str, Mapping[str, int]]) -> list[tuple[str, Mapping[str, int]]]:
    """What was unusual in how sequences were read: aspects with the number of sequences of each finding."""
    return [(aspect, values) for aspect, values in readings.items() if any(map(is_doubtful, values))]


def _against(what: str, found: int | None, published: Mapping[str, Any]) -> str:
    number = MISSING if found is None else f"{found:,}"
    if published["count"] is None:
        return f"{number} {what}"
    share = "" if published["share"] is None else f" ({percent(published['share'])})"
    return f"{number} of {published['count']:,} {what}{share}"


def _most_frequent(distinct: int, most_frequent: Mapping[str, int]) -> str:
    named = [f"{_short(value)} ({count:,})" for value, count in list(most_frequent.items())[:_NAMED]]
    return f"{distinct:,}: {', '.join(named)}{', ...' if distinct > len(named) else ''}"


def _lost(kind: str, reasons: Mapping[str, int], examples: Mapping[str, list[dict[str, Any]]]) -> list[str]:
    """How much was lost; a line per reason, with an example."""
    if not reasons:
        return []
    head = f"  {sum(reasons.values()):,} {kind}: "
    said = [f"{count:,} {reason}, as {_example(examples[reason][0])}" for reason, count in reasons.items()]
    return [f"{head}{said[0]}", *(f"{' ' * len(head)}{line}" for line in said[1:])]


def _example(reject: Mapping[str, Any]) -> str:
    detail = f" ({_short(reject['detail'])})" if reject["detail"] else ""
    return f"{_short(path_of(reject))}{detail}"


def _short(text: str) -> str:
    """The text, or the end of a long one, where paths say most."""
    return text if len(text) <= _LONGEST else f"...{text[3 - _LONGEST :]}"
