"""Linear probes and the majority baseline."""

import numpy as np
import pytest

from evaluation.classification.probe import majority, probe


def test_a_probe_learns_what_is_linear_and_nothing_from_noise() -> None:
    rng = np.random.default_rng(1)
    labels, unseen = rng.integers(0, 2, 80), rng.integers(0, 2, 200)
    noise, other = rng.standard_normal((80, 6, 5)), rng.standard_normal((200, 6, 5))
    signal, new = noise.copy(), other.copy()
    signal[:, 2, 3] += 3 * labels
    new[:, 2, 3] += 3 * unseen
    subjects = [str(number // 2) for number in range(80)]
    found = probe(signal, labels, subjects, new, classes=3, balanced=True)
    assert found.shape == (200, 3) and (found[:, 2] == 0).all() and found.sum(axis=1) == pytest.approx(1)
    assert (found.argmax(axis=1) == unseen).mean() > 0.85
    chance = probe(noise, labels, subjects, other, classes=2, balanced=False)
    assert abs((chance.argmax(axis=1) == unseen).mean() - 0.5) < 0.12
    always = majority(np.array([0, 2, 2]), 4, 3)
    assert always.shape == (4, 3) and (always.argmax(axis=1) == 2).all()
