"""The catalog: one file a collection, with its entry; all facts about a collection stand there.

To add a collection, write a file beside this one with its entry, import the entry here and add it to `_ENTRIES`:
nothing else needs to change. No other code may branch on a collection's name.
"""

from datasets.catalog.casia_b import CASIA_B
from datasets.catalog.casia_e import CASIA_E
from datasets.catalog.ccgr import CCGR
from datasets.catalog.ccpg import CCPG
from datasets.catalog.d_gait import D_GAIT
from datasets.catalog.gait3d import GAIT3D
from datasets.catalog.gaitlu_1m import GAITLU_1M
from datasets.catalog.grew import GREW
from datasets.catalog.ou_mvlp import OU_MVLP
from datasets.catalog.ragar import RAGAR
from datasets.catalog.scoliosis1k import SCOLIOSIS1K
from datasets.catalog.sustech1k import SUSTECH1K
from datasets.schema.collection import CollectionSpec
from datasets.schema.errors import UsageError

_ENTRIES = (
    *(CASIA_B, CASIA_E, CCGR, CCPG, D_GAIT, GAIT3D),
    *(GAITLU_1M, GREW, OU_MVLP, RAGAR, SCOLIOSIS1K, SUSTECH1K),
)
CATALOG: dict[str, CollectionSpec] = {spec.name: spec for spec in _ENTRIES}


def find(name: str) -> CollectionSpec:
    """The entry of a collection; UsageError that lists the known names otherwise."""
    if name not in CATALOG:
        raise UsageError(f"unknown collection {name!r}: the known ones are {', '.join(sorted(CATALOG))}")
    return CATALOG[name]
