"""SUSTech1K: camera and LiDAR out of doors, eight covariates."""

from datasets.catalog.official_lists import marked, numbered, split
from datasets.schema.collection import CollectionSpec, FolderPath, Layout, Split
from datasets.schema.protocol import ProbeSet, Protocol

_SUSTECH1K_PATHS = (
    FolderPath(
        pattern=r"(?P<subject>\d{4})/(?P<condition>\d{2}-(?P<label_covariate>[a-z-]+))/"
        r"(?P<view>(?P<label_angle>\d{3})(?:-(?P<label_distance>far|near))?)"
    ),
)
_SUSTECH1K_UNUSED = frozenset({"0352", "1047", "1048", *numbered(1050, 1054, 4)})


def _sustech1k_split() -> Split:
    subjects = numbered(0, 1057, 4)
    return split(frozenset(subjects) - _SUSTECH1K_UNUSED, marked("sustech1k", subjects))


SUSTECH1K = CollectionSpec(
    name="SUSTech1K",
    title="SUSTech1K, camera and LiDAR out of doors",
    citation="C. Shen, C. Fan, W. Wu, R. Wang, G. Q. Huang, S. Yu. LidarGait: benchmarking 3D gait recognition with "
    "point clouds. CVPR 2023.",
    access="agreement and password, from the OpenGait team",
    layouts=(
        Layout(
            name="released",
            kind="images",
            paths=_SUSTECH1K_PATHS,
            inside="Sils_aligned",
            file=r"\d+\.(?:jpg|png)",  # times in seconds without their point: the order of names is that of time
            example="0000/00-nm/000/Sils_aligned/1657069297123456.jpg",
            aligned=True,
        ),
        Layout(
            name="opengait",
            kind="pickle",
            paths=_SUSTECH1K_PATHS,
            file=r"\d{2}-\d{3}(?:-(?:far|near))?-Camera-Sils_aligned\.pkl",  # the sync- file beside it is thinned
            example="0000/00-nm/000/06-000-Camera-Sils_aligned.pkl",
            aligned=True,
        ),
        # The LiDAR turns ten times a second, the camera takes thirty pictures. The size of the projected silhouettes is
        # not published: at 64 or 128 rows they count as aligned, else they are normalised as raw masks are.
        Layout(
            name="released lidar",
            kind="images",
            paths=_SUSTECH1K_PATHS,
            inside="PCDs_sils",
            file=r"\d+(?:\.\d+)?\.(?:png|jpg)",  # named as the point clouds are, by the time in seconds
            example="0000/00-nm/000/PCDs_sils/1657069297.123456.png",
            aligned=True,
            may_be_raw=True,
            modality="lidar",
            spacing=3,
        ),
        Layout(
            name="opengait lidar",
            kind="pickle",
            paths=_SUSTECH1K_PATHS,
            file=r"\d{2}-\d{3}(?:-(?:far|near))?-LiDAR-PCDs_sils\.pkl",
            example="0000/00-nm/000/02-000-LiDAR-PCDs_sils.pkl",
            aligned=True,
            may_be_raw=True,
            modality="lidar",
            spacing=3,
        ),
        # By ViTPose. OpenGait reads the raw ones as JSON and stacks them to [T, 17, 3], which tells what is in a file;
        # how the files are named is not published.
        Layout(
            name="released skeleton",
            kind="joints",
            paths=_SUSTECH1K_PATHS,
            inside="Pose",
            file=r"\d+[^/]*\.json",
            example="0000/00-nm/000/Pose/1657069297123456.json",
            aligned=False,
            modality="skeleton",
        ),
        Layout(
            name="opengait skeleton",
            kind="pickle",
            paths=_SUSTECH1K_PATHS,
            file=r"\d{2}-\d{3}(?:-(?:far|near))?-Camera-Pose\.pkl",
            example="0000/00-nm/000/03-000-Camera-Pose.pkl",
            aligned=True,
            modality="skeleton",
        ),
    ),
    split=_sustech1k_split(),
    protocol=Protocol(
        probe_sets=tuple(
            ProbeSet(name=name, probe=frozenset(parts.split()), gallery=frozenset({"00-nm"}), by="part")
            for name, parts in (
                ("Normal", "01-nm"),
                ("Bag", "bg"),
                ("Clothing", "cl"),
                ("Carrying", "cr"),
                ("Umberalla", "ub"),  # spelt as in the evaluator of OpenGait
                ("Uniform", "uf"),
                ("Occlusion", "oc"),
                ("Night", "nt"),
                ("Overall", "01 02 03 04"),
            )
        )
    ),
    published={"subjects": 1_050, "sequences": 25_239},
)
