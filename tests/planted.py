"""Walks whose labels can be seen: Scoliosis1K with a leaning trunk, D-Gait with a stoop, as many on both sides."""

from collections import Counter

from datasets import catalog, walker_scenes

EACH = 14  # people of each class, to train and to test on


def planted_walks() -> dict[str, list]:
    """Walks of Scoliosis1K (positive and negative) and of D-Gait, as many of each class on both sides."""
    found = {"Scoliosis1K": [], "D-Gait": []}
    for part in ("train", "test"):
        folders = map(walker_scenes.scoliosis1k, sorted(getattr(catalog.find("Scoliosis1K").split, part)))
        counts: Counter = Counter()
        for walk in folders:
            if walk.condition != "neutral" and counts[walk.condition] < EACH:
                counts[walk.condition] += 1
                found["Scoliosis1K"].append(walk)
        people = sorted(getattr(catalog.find("D-Gait").split, part))
        for letter in "DN":
            for one in [name for name in people if name.startswith(letter)][:EACH]:
                found["D-Gait"] += [walker_scenes.d_gait(one, condition, "G1-front") for condition in ("nm", "cl")]
    return found
