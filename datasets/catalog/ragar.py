"""RAGAR: human attributes from gait."""

from datasets.catalog.official_lists import marked, numbered, split
from datasets.schema.collection import CollectionSpec, FolderPath, Layout, Split


def _ragar_split() -> Split:
    subjects = numbered(1, 533, 3)
    return split(subjects, marked("ragar", subjects))


RAGAR = CollectionSpec(
    name="RAGAR",
    title="RA-GAR, richly annotated attributes",
    citation="Wang et al. RA-GAR: a richly annotated benchmark for gait attribute recognition. AAAI 2025.",
    access="from the authors; the terms are not known to us",
    layouts=(
        Layout(  # the owners' own layout is not known to us
            name="opengait",
            kind="pickle",
            # The condition is a number and then one class index for each attribute, in an order that is not published.
            paths=(
                FolderPath(
                    pattern=r"(?P<subject>\d{3})/(?P<condition>\d+(?P<labels_attribute>(?:_\d+)+))/(?P<view>[^/]+)"
                ),
            ),
            file=r"[^/]+\.pkl",
            example="001/0_1_0_2/000/000.pkl",
            aligned=True,
        ),
    ),
    split=_ragar_split(),
    published={"subjects": 533},
)
