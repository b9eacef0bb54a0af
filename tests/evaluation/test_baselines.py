"""Hand-made statistics: what they measure on shapes of known size and rhythm, and that they tell walkers apart."""

import numpy as np
import pytest

from datasets.preprocessing import silhouettes
from datasets.preprocessing.encoder_input import to_input
from datasets.schema.protocol import ProbeSet, Protocol
from datasets.synthetic.body import make_walker
from datasets.synthetic.film import Shot, render
from evaluation.baselines import STEPS_A_FRAME, gei, gei_strips, statistics
from evaluation.distances.metric import distances, paired_distances
from evaluation.retrieval.protocols import evaluate_protocol
from evaluation.retrieval.sequences import Sequences

WIDTH, SPREAD, CENTRE, SWAY, STEP, STRIDE, CADENCE = range(7)


def legs(frames: int, period: float, shift: int = 0, start: float = 0.0) -> np.ndarray:
    """A trunk eight columns wide, and below it legs that open to 8 + 6 columns and close, one step in `period`."""
    masks = np.zeros((frames, 64, 44), dtype=np.uint8)
    masks[:, :40, 18 + shift : 26 + shift] = 1
    for frame, mask in enumerate(masks):
        half = round(4 + 1.5 * (1 - np.cos(2 * np.pi * (frame / period + start))))
        mask[40:, 22 + shift - half : 22 + shift + half] = 1
    return masks


def walk(subject: int, day: int, azimuth: float = 90.0, frames: int = 40) -> np.ndarray:
    """A synthetic walker as the encoder sees them."""
    occasion = 1000 * subject + day
    phase = np.random.default_rng(occasion).uniform(0, 6)
    walker = make_walker(subject)
    film = render(Shot(walker=walker, azimuth=azimuth, num_frames=frames, phase=phase, occasion=occasion))
    return to_input(np.stack([silhouettes.normalise(frame)[0] for frame in film]))


def test_widths_and_centres_of_known_shapes() -> None:
    found = statistics(legs(60, period=12, shift=3))
    assert found.shape == (7, 16) and found.dtype == np.float32
    np.testing.assert_allclose(found[WIDTH, :10], 8 / 64)
    np.testing.assert_allclose(found[CENTRE], 3 / 64, rtol=1e-5)  # columns 18 to 25 of 0 to 43 are the middle
    np.testing.assert_allclose(found[[SPREAD, STEP], :10], 0, atol=1e-7)
    np.testing.assert_allclose(found[WIDTH, 10:], 11 / 64, atol=0.3 / 64)
    np.testing.assert_allclose(found[STEP, 10:], 3 / 64, rtol=0.1)  # halves of 4 to 7 columns: an amplitude of 3
    np.testing.assert_allclose(found[SPREAD, 10:], 3 / 64 / np.sqrt(2), rtol=0.1)


@pytest.mark.parametrize("period", [10.6, 13.7, 18.0])
def test_cadence_is_that_of_the_legs_wherever_a_walk_begins(period: float) -> None:
    found = [statistics(legs(60, period, start=start)) for start in (0, 0.3, 0.6)]
    for one in found:
        np.testing.assert_allclose(one[CADENCE], 1 / period, rtol=0.04)
    assert paired_distances(found[0][None], found[1][None], "euc") < 0.01
    assert paired_distances(found[0][None], statistics(legs(60, period / 1.3))[None], "euc") > 0.01


def test_a_mirrored_walk_and_a_shuffled_one_are_others() -> None:
    masks = walk(1, 1)
    found, mirrored = statistics(masks), statistics(masks[:, :, ::-1])
    np.testing.assert_allclose(mirrored[CENTRE], -found[CENTRE], atol=1e-6)
    np.testing.assert_allclose(mirrored[WIDTH], found[WIDTH], atol=1e-6)
    assert np.abs(found[CENTRE]).max() > 0.01
    masks = legs(60, period=12)
    found, shuffled = statistics(masks), statistics(masks[np.random.default_rng(0).permutation(60)])
    np.testing.assert_allclose(shuffled[[WIDTH, SPREAD, CENTRE, SWAY]], found[[WIDTH, SPREAD, CENTRE, SWAY]], atol=1e-6)
    assert shuffled[STEP, 10:].max() < 0.5 * found[STEP, 10:].min()


@pytest.mark.parametrize("frames", [1, 2, 7])
def test_short_walks_have_a_middling_cadence(frames: int) -> None:
    found = statistics(walk(1, 1)[:frames])
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[CADENCE], np.mean(STEPS_A_FRAME))
    if frames == 1:
        np.testing.assert_array_equal(found[[SPREAD, SWAY, STEP, STRIDE]], 0)


def test_an_empty_strip_has_no_centre_of_its_own() -> None:
    masks = legs(20, period=10)
    masks[::2, :4] = 0  # the head is missing in every other frame
    masks[:, 4:8] = 0
    found = statistics(masks)
    assert found[WIDTH, 0] == pytest.approx(4 / 64) and found[SWAY, 0] == 0
    np.testing.assert_array_equal(found[:6, 1], 0)


def test_walkers_are_recognised() -> None:
    subjects, days = range(8), range(3)
    walks = [(subject, day) for subject in subjects for day in days]
    embeddings = np.stack([statistics(walk(*one)) for one in walks])
    names = [[str(subject) for subject, _ in walks], ["g" if day else "p" for _, day in walks], ["090"] * len(walks)]
    distance = distances(embeddings, embeddings, "euc")
    same = np.equal.outer(names[0], names[0])
    assert distance[same & ~np.eye(len(walks), dtype=bool)].mean() < 0.6 * distance[~same].mean()
    probes = ProbeSet(name="p", probe=frozenset("p"), gallery=frozenset("g"))
    (found,) = evaluate_protocol(
        Sequences.of(embeddings, *names), Protocol(probe_sets=(probes,), kinds=("pooled",)), "euc"
    )
    assert found.outcomes.rank(1) > 50  # chance is 12.5


def test_refuses_what_is_no_walk() -> None:
    with pytest.raises(ValueError, match="64 rows into 7 strips"):
        statistics(legs(3, 9), parts=7)
    with pytest.raises(ValueError, match="0 and 1"):
        statistics(255 * legs(3, 9))
    with pytest.raises(ValueError, match="at least one frame"):
        statistics(legs(3, 9)[:0])


def test_gei_is_the_mean_silhouette() -> None:
    masks = np.zeros((4, 4, 3), dtype=np.uint8)
    masks[:, 0, 1], masks[:1, 3, 2] = 1, 1
    image = np.zeros((4, 3))
    image[0, 1], image[3, 2] = 1, 0.25
    assert gei(masks).dtype == gei_strips(masks, parts=2).dtype == np.float32
    np.testing.assert_array_equal(gei(masks)[:, 0], image.ravel())
    np.testing.assert_array_equal(gei_strips(masks, parts=2), np.stack([image[:2].ravel(), image[2:].ravel()], axis=1))
    with pytest.raises(ValueError, match="0 and 1"):
        gei(masks * 255)
    with pytest.raises(ValueError, match="at least one frame"):
        gei(masks[:0])
    with pytest.raises(ValueError, match="4 rows into 3 strips"):
        gei_strips(masks, parts=3)
