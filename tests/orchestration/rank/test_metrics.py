"""What a rank reports of its steps."""

import pytest

from orchestration.rank.metrics import NotFinite, _raise_not_finite


@pytest.mark.parametrize(
    ("precision", "advice"),
    [
        ("fp32", "give a lower --schedule.lr or --schedule.clip-norm, and another --out;"),
        ("bf16", "give a lower --schedule.lr or --schedule.clip-norm, or --cluster.precision fp32, and another --out;"),
    ],
)
def test_a_run_with_nan_is_advised_to_take_fp32_where_it_had_bf16(precision: str, advice: str) -> None:
    _raise_not_finite([0, 0], precision)
    with pytest.raises(NotFinite, match=f"^rank 0, 2 produced NaN or Inf at step 5: {advice}"):
        _raise_not_finite([5, 8, 5], precision)
