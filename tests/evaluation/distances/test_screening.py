"""The error bounds of approximate distances hold, by products of int8 and of float32."""

import numpy as np
import pytest
import torch

from evaluation.distances import screening
from evaluation.distances.metric import Metric
from evaluation.distances.screening import Columns, Screen
from tests.fixtures.distances import exact_distances

CPU = torch.device("cpu")


@pytest.fixture(params=["int8", "float32"])
def products(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both kinds of products; int8 is exact on this machine or the test is skipped."""
    if request.param == "int8" and not screening.are_fast():
        pytest.skip("no fast int8 product on this processor")
    monkeypatch.setattr(screening, "are_fast", lambda: request.param == "int8")
    return request.param


@pytest.mark.parametrize("metric", ["euc", "cos"])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_margins_hold(products: str, scale: float, metric: Metric) -> None:
    rng = np.random.default_rng(1)
    for channels, parts in ((1, 1), (17, 5), (256, 4), (2816, 1)):
        x, y = (scale * rng.normal(size=(40, channels, parts)).astype(np.float32) for _ in range(2))
        y[:10] = x[:10]
        y[10:20] = x[10:20] * 1.001
        x[0], y[1], x[5, :, 0] = 0, 0, 0
        x[2, :, 0] *= 100  # one part that outweighs the others
        a, b = Screen.of(x, np.arange(40), metric, CPU), Columns(Screen.of(y, np.arange(40), metric, CPU))
        error = np.abs(a.distances(b, torch.empty(40, 40)).numpy().astype(np.float64) - exact_distances(x, y, metric))
        assert (error <= a.margins[:, None] + b.margins[None, :]).all()
        if metric == "cos" and channels > 1:
            assert np.median(a.margins) < 0.05  # and they are of use


def test_more_channels_than_int32_can_add_are_multiplied_as_floats() -> None:
    x = np.ones((2, screening.MOST_CHANNELS + 1, 1), dtype=np.float32)
    assert Screen.of(x, np.arange(2), "euc", CPU).values.dtype == torch.float32
