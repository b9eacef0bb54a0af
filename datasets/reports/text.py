"""What is in a store, in words for the terminal: found against published, and what was lost with the reasons.

It reads a manifest and nothing else. The same numbers as a page to look at: datasets/reports/page.py.
"""

from datasets.store.reader import Manifest
from datasets.store.summary import COUNTED

MISSING = "\u2013"  # en dash: a number that is not known

_NAMED = 4  # conditions, views and values of a label that are named in a line
_LONGEST = 60  # characters of a path or of a detail


def describe(manifest: Manifest) -> str:
    """A few lines a collection: counts against the published ones, lengths, labels, and rejects by reason."""
    shards = manifest["shards"]
    lines = [line for name, entry in manifest["collections"].items() for line in _collection(name, entry)]
    frames = sum(entry["frames"] for entry in manifest["collections"].values())
    size = sum(file["bytes"] for file in shards)
    each = f", {size / frames:.1f} bytes a frame" if frames else ""
    sources = {name: entry.get("citation") for name, entry in manifest["collections"].items()}
    cited = [f"cite {name}: {source}" for name, source in sources.items() if source]
    lines += [*cited, f"{len(shards)} shards, {size / 1e6:.1f} MB{each}"]
    return "\n".join(printable(line) for line in lines)


def losses(manifest: Manifest, tolerated: float) -> list[str]:
    """A line for each collection of which more than the tolerated share (0 to 1) of the sequences was rejected."""
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
    """A share in percent that is 0 or 100 only where that is exact."""
    if share in (0, 1):
        return f"{100 * share:.0f}%"
    rounded = f"{100 * share:.1f}%"
    return {"0.0%": "<0.1%", "100.0%": ">99.9%" if share < 1 else ">100%"}.get(rounded, rounded)


def printable(text: str) -> str:
    """A text that came with the data, made safe to show: no control characters, none that turns the line around."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def lengths_in_words(lengths: dict, sequences: int) -> str:
    """The lengths of a summary's result, of at least one sequence."""
    said = f"{lengths['min']:,} to {lengths['max']:,} frames, median {lengths['median']:,g}"
    if lengths["min"] == lengths["max"]:
        said = f"{lengths['min']:,} frame{'s' * (lengths['min'] != 1)} each"
    if short := lengths["shorter_than_window"]:
        said += f"; {short:,} ({percent(short / sequences)}) shorter than the {lengths['window']} of a training window"
    return said


def place_of(reject: dict) -> str:
    """Where an example of a summary lies, below the collection's root: a sequence's folder, or one frame in it."""
    return reject["source"] if reject["frame"] is None else f"{reject['source']}/{reject['frame']}"


def _collection(name: str, entry: dict) -> list[str]:
    several = set(entry["modalities"]) - {"silhouette"}
    counts = _counts(entry, {} if several else entry["published"])
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


def _counts(found: dict, published: dict) -> list[str]:
    """The numbers of a collection, or of one modality of it, against the published ones where there are any."""
    return [_against(what, found[what], published.get(what, {"count": None})) for what in COUNTED]


def _content(entry: dict) -> list[str]:
    """What the sequences are like: a line each for lengths, conditions, views and every label."""
    rows = [("lengths", lengths_in_words(entry["lengths"], entry["sequences"]))]
    if entry["anonymous_sequences"]:
        rows.append(("identity", f"{entry['anonymous_sequences']:,} sequences of people without a name"))
    rows += [(what, _most_frequent(**entry[what])) for what in ("conditions", "views")]
    rows += [(f"label {name}", _most_frequent(len(values), values)) for name, values in entry["labels"].items()]
    width = max(len(what) for what, _ in rows)
    return [f"  {what:<{width}}  {said}" for what, said in rows]


def _against(what: str, found: int | None, published: dict) -> str:
    number = MISSING if found is None else f"{found:,}"
    if published["count"] is None:
        return f"{number} {what}"
    share = "" if published["share"] is None else f" ({percent(published['share'])})"
    return f"{number} of {published['count']:,} {what}{share}"


def _most_frequent(distinct: int, most_frequent: dict[str, int]) -> str:
    named = [f"{_short(value)} ({count:,})" for value, count in list(most_frequent.items())[:_NAMED]]
    return f"{distinct:,}: {', '.join(named)}{', ...' if distinct > len(named) else ''}"


def _lost(kind: str, reasons: dict[str, int], examples: dict[str, list[dict]]) -> list[str]:
    """How much was lost, and under each other the reasons with an example."""
    if not reasons:
        return []
    head = f"  {sum(reasons.values()):,} {kind}: "
    said = [f"{count:,} {reason}, as {_example(examples[reason][0])}" for reason, count in reasons.items()]
    return [f"{head}{said[0]}", *(f"{' ' * len(head)}{line}" for line in said[1:])]


def _example(reject: dict) -> str:
    detail = f" ({_short(reject['detail'])})" if reject["detail"] else ""
    return f"{_short(place_of(reject))}{detail}"


def _short(text: str) -> str:
    """A text, or the end of a long one: paths tell more there."""
    return text if len(text) <= _LONGEST else f"...{text[3 - _LONGEST :]}"
