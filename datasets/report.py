"""What is in a store, in words for the terminal: found against published, and what was lost with the reasons.

It reads a manifest and nothing else.
"""

from datasets.manifest import Manifest


def describe(manifest: Manifest) -> str:
    """A few lines a collection: sequences, subjects and frames against the published counts; rejects by reason."""
    shards = manifest["shards"]
    lines = [_collection(name, entry) for name, entry in manifest["collections"].items()]
    frames = sum(entry["frames"] for entry in manifest["collections"].values())
    size = sum(file["bytes"] for file in shards)
    each = f", {size / frames:.1f} bytes a frame" if frames else ""
    cited = [f"cite {name}: {entry['citation']}" for name, entry in manifest["collections"].items()]
    return "\n".join([*lines, *cited, f"{len(shards)} shards, {size / 1e6:.1f} MB{each}"])


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


def _collection(name: str, entry: dict) -> str:
    counts = [_against(what, entry[what], entry["published"].get(what)) for what in ("sequences", "subjects", "frames")]
    splits = ", ".join(f"{split} {part['sequences']:,}" for split, part in entry["splits"].items())
    lines = [f"{name}: {', '.join(counts)} ({splits or 'no sequence kept'})"]
    if entry["rejected_sequences"]:
        lines.append(f"  {entry['rejected_sequences']:,} sequences rejected: {_reasons(entry['reject_reasons'])}")
    if entry["dropped_frames"]:
        lines.append(f"  {entry['dropped_frames']:,} frames dropped: {_reasons(entry['dropped_frame_reasons'])}")
    return "\n".join(lines)


def _against(what: str, found: int, published: int | None) -> str:
    return f"{found:,} {what}" if published is None else f"{found:,} of {published:,} {what}"


def _reasons(tally: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in sorted(tally.items(), key=lambda item: -item[1]))
