"""Driver of `ingest --check`: reads a sample of each collection in this process, and writes nothing."""

from datasets.ingest import sample
from datasets.ingest.sample import Sample
from datasets.reports import text
from datasets.store.writer import StoreWriter
from orchestration.cluster.progress import Progress
from orchestration.ingest.ingest import IngestRun, find_roots


def check(run: IngestRun) -> list[Sample]:
    """A sample of each collection of a run, as it would be ingested; UsageError for whatever ends an ingest at once."""
    known = StoreWriter.open(run.out).described if run.out else {}
    roots = find_roots(run, {"collections": known})
    samples = []
    with Progress("check", "collections", len(roots)) as progress:
        for root in roots.values():
            samples.append(sample.take(root))
            progress.advance(1)
    return samples


def describe(sample: Sample, cores: int) -> str:
    """Some lines: what ingest would make of the collection, what is doubtful, and how long it would take."""
    name = sample.root.spec.name
    head = (
        f"{name}: a sample of {sample.sampled:,} of about {sample.about:,} sequences, read as {sample.root.layout.name}"
    )
    lines = [head, *text.collection_lines("the sample", sample.counts)]
    minutes = sample.about * sample.seconds / cores / 60
    span = f"{minutes:.0f} minutes" if minutes >= 1.5 else f"{max(60 * minutes, 1):.0f} seconds"
    lines.append(f"  all of it would take about {span} on {cores} core{'s' * (cores != 1)}")
    return "\n".join(text.printable(line) for line in lines)


def losses(sample: Sample, tolerated: float) -> list[str]:
    """A line where a larger share of the sample than tolerated (0 to 1) would be rejected."""
    rejected = sample.counts["rejected_sequences"] / max(sample.sampled, 1)
    if rejected <= tolerated:
        return []
    name = sample.root.spec.name
    return [
        f"{text.percent(rejected)} of the sample of {name} would be rejected, more than the {text.percent(tolerated)} "
        "of --max-rejects: the reasons are above"
    ]
