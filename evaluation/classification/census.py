"""Who is in the data of a classification task: class counts, class imbalance, and people in both splits."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from evaluation.text_table import escape, markdown_table

_FEW = 30  # test sequences of a class: with fewer, macro means depend on chance


@dataclass(frozen=True, kw_only=True)
class Side:
    """The rows of one side of a split: the label of each (None where it is missing), and whose it is."""

    labels: tuple[str | None, ...]
    people: tuple[str, ...]

    def sequences(self) -> Counter[str]:
        """Number of sequences of each class."""
        return Counter(label for label in self.labels if label is not None)

    def subjects(self) -> Counter[str]:
        """Number of people of each class."""
        pairs = {(who, label) for who, label in zip(self.people, self.labels, strict=True) if label is not None}
        return Counter(label for _, label in pairs)


def class_counts(question: str, classes: Sequence[str], train: Side, test: Side) -> str:
    """A table of the classes on both sides, and warnings about what it means for the metrics, in Markdown."""
    cells = [["class", "train sequences", "train subjects", "test sequences", "test subjects"]]
    for name in [*classes, *sorted(set(test.sequences()) - set(classes))]:
        counts = [count[name] for side in (train, test) for count in (side.sequences(), side.subjects())]
        cells.append([name, *(f"{count:,}" for count in counts)])
    warnings = "\n".join(f"- {escape(line)}" for line in _warnings(classes, train, test))
    return f"### {escape(question)}\n\n{markdown_table(cells)}\n\n{warnings}".rstrip()


def _warnings(classes: Sequence[str], train: Side, test: Side) -> list[str]:
    found = []
    for name, side in (("train", train), ("test", test)):
        counts = side.sequences().most_common()
        if counts:
            most, least = counts[0], min(counts, key=lambda one: one[1])
            share = 100 * most[1] / sum(side.sequences().values())
            found.append(
                f"{name}: {most[0]} has {most[1] / least[1]:.1f} times the sequences of {least[0]}; "
                f"a classifier that always predicts {most[0]} is right for {share:.1f}%"
            )
        if missing := sum(label is None for label in side.labels):
            found.append(f"{name}: {missing:,} of {len(side.labels):,} sequences have no such label and are left out")
    few = [f"{name} ({count})" for name, count in test.sequences().items() if name in classes and count < _FEW]
    if few:
        found.append(f"few test sequences of {', '.join(sorted(few))}: macro means are uncertain")
    if unknown := sorted(set(test.sequences()) - set(classes)):
        count = sum(test.sequences()[name] for name in unknown)
        found.append(f"{count:,} test sequences of classes without training rows are left out: {', '.join(unknown)}")
    return found


def leakage(train: Sequence[str], test: Sequence[str], anonymous: Sequence[str] = ()) -> str:
    """Which people are in both splits, in Markdown.

    Args:
        train, test: the person of each sequence.
        anonymous: a line for each collection whose subject numbers do not stand for people.
    """
    both = sorted(set(train) & set(test))
    line = f"None of the {len(set(test)):,} test subjects is among the {len(set(train)):,} of the training data."
    if both:
        count = sum(who in set(both) for who in test)
        named = ", ".join(both[:5]) + (", ..." if len(both) > 5 else "")
        line = (
            f"{len(both):,} of {len(set(test)):,} test subjects are in the training data, with {count:,} sequences: "
            f"{named}. Metrics on them are too optimistic."
        )
    return "\n".join(f"- {escape(line)}" for line in [line, *anonymous])
