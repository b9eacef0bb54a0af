"""Who is in the data of a classification: its classes, how unequal they are, and people on both sides of the split.

Names and numbers in, text out; it does not know where rows lie, nor what was trained on them.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from evaluation.text_table import escape, markdown_table


@dataclass(frozen=True, kw_only=True)
class Side:
    """The rows of one side of a split: the label of each (None where it is missing), and whose it is."""

    labels: tuple[str | None, ...]
    people: tuple[str, ...]

    def sequences(self) -> Counter:
        """How many sequences each class has."""
        return Counter(label for label in self.labels if label is not None)

    def subjects(self) -> Counter:
        """How many people each class has."""
        pairs = {(who, label) for who, label in zip(self.people, self.labels, strict=True) if label is not None}
        return Counter(label for _, label in pairs)


def class_counts(question: str, classes: Sequence[str], train: Side, test: Side) -> str:
    """A table of the classes on both sides, and what it means for the scores, in Markdown."""
    cells = [["class", "train sequences", "train subjects", "test sequences", "test subjects"]]
    for name in [*classes, *sorted(set(test.sequences()) - set(classes))]:
        counts = [count[name] for side in (train, test) for count in (side.sequences(), side.subjects())]
        cells.append([name, *(f"{count:,}" for count in counts)])
    warnings = "\n".join(f"- {escape(line)}" for line in _warnings(classes, train, test))
    return f"### {escape(question)}\n\n{markdown_table(cells)}\n\n{warnings}".rstrip()


def _warnings(classes: Sequence[str], train: Side, test: Side) -> list[str]:
    said = []
    for name, side in (("train", train), ("test", test)):
        counts = side.sequences()
        if counts:
            most, least = (choose(counts.items(), key=lambda one: one[1]) for choose in (max, min))
            share = 100 * most[1] / sum(counts.values())
            line = f"{name}: {most[0]} has {most[1] / least[1]:.1f} times the sequences of {least[0]}; "
            said.append(line + f"who always answers {most[0]} is right for {share:.1f}%")
        if missing := sum(label is None for label in side.labels):
            said.append(f"{name}: {missing:,} of {len(side.labels):,} sequences have no such label and are left out")
    rare = [f"{name} ({count})" for name, count in test.sequences().items() if name in classes and count < 30]
    if rare:
        said.append(f"few test sequences of {', '.join(sorted(rare))}: macro means are as uncertain as these are few")
    if unknown := sorted(set(test.sequences()) - set(classes)):
        count = sum(test.sequences()[name] for name in unknown)
        said.append(f"{count:,} test sequences of classes without training rows are left out: {', '.join(unknown)}")
    return said


def leakage(train: Sequence[str], test: Sequence[str], anonymous: Sequence[str] = ()) -> str:
    """Which people are on both sides, in Markdown. anonymous: a line for each collection whose subjects are no people.

    train, test: whose each sequence is.
    """
    both = sorted(set(train) & set(test))
    line = f"None of the {len(set(test)):,} test subjects is among the {len(set(train)):,} of the training data."
    if both:
        count = sum(who in set(both) for who in test)
        named = ", ".join(both[:5]) + (", ..." if len(both) > 5 else "")
        line = (
            f"{len(both):,} of {len(set(test)):,} test subjects are in the training data, with {count:,} sequences: "
            f"{named}. Scores on them flatter."
        )
    return "\n".join(f"- {line}" for line in [line, *anonymous])


def confusion(classes: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """A confusion matrix in Markdown: rows true classes, columns answers."""
    rows = [[name, *map(str, row)] for name, row in zip(classes, counts, strict=True)]
    return markdown_table([["true \\ predicted", *classes], *rows])
