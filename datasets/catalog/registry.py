"""The collections, as data: every fact about a collection stands in its entry, and no other code branches on its name.

The entries lie in catalog_lab.py, catalog_wild.py, catalog_lidar.py and catalog_health.py. To add a collection, add an
entry and name it here; to correct a fact, correct it there. Counts that the field quotes but no source of ours confirms
are marked so.
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
