import shutil
from pathlib import Path

import pytest
import torch

from benchmarks.roofline.clips import made_pairs, stored_pairs
from benchmarks.roofline.compiled import count_compiled_bytes
from benchmarks.roofline.counts import Counter, Counts, count
from benchmarks.roofline.kernels import Input, bytes_of
from model import sizes
from model.tokens import count_mixed, num_tubelets

KEPT = 0.27  # docs/measurements.md


@pytest.fixture(scope="module")
def xl() -> Counts:
    return count("xl", made_pairs(64, KEPT))


def test_made_clips_have_the_share_of_tokens() -> None:
    batch = made_pairs(8, KEPT)
    for clips in (batch.query, batch.key):
        assert count_mixed(torch.from_numpy(clips)).tolist() == [round(KEPT * num_tubelets(16))] * 8


def test_bytes_are_those_that_eager_operations_read_and_write() -> None:
    a, b, matrix = torch.ones(10, 4), torch.ones(4), torch.ones(4, 8)
    with Counter() as counter:
        a + b  # reads 160 and 16 bytes, writes 160
        a.view(20, 2)  # nothing
        a.add_(b)  # the same as out of place
        a.zero_()  # writes 160
        a.to(torch.bfloat16)  # reads 160, writes 80
        b.expand(10, 4) * 2  # reads what there is: 16, writes 160
    assert counter.elementwise_bytes == 2 * (160 + 16 + 160) + 160 + 240 + 176
    with Counter() as counter:
        a @ matrix
    assert (counter.product_flops, counter.elementwise_bytes) == (2 * 10 * 4 * 8, 0)


def test_products_are_those_of_the_arithmetic(xl: Counts) -> None:
    """Student forward and backward, and teacher forward: four passes. Strips attend to less, heads are not in it."""
    expected = 64 * 4 * sizes.clip_flops("xl", 16, KEPT)
    assert 0.97 < xl.flops / expected < 1.03


def test_attention_is_counted_within_segments() -> None:
    """Queries in strips attend to about half as much as whole ones; torch's own formula would take the longest."""
    depth, batch = 2, made_pairs(8, KEPT)
    whole = 8 * depth * 4 * (380 + sizes.REGISTERS) ** 2 * 64 * depth  # keys, forward
    student = count("xxs", batch).attention_flops - whole
    assert 0.3 < student / (3.5 * whole) < 0.7


def test_the_elementwise_bytes_of_xl_do_not_grow(xl: Counts) -> None:
    assert xl.elementwise_bytes < 205e9  # 199.9e9; at 2.7 TB/s more time than its products take on an H100


@pytest.mark.slow  # the compiler takes about a minute
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on CPU")
def test_compiled_blocks_of_xl_take_less_than_half_of_the_bytes() -> None:
    assert count_compiled_bytes("xl", made_pairs(64, KEPT)) < 80.5e9  # 76.6e9


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on CPU")
def test_the_bytes_of_a_compiled_part_are_those_of_its_kernels() -> None:
    """A sum and a factor in one kernel: x is read and y written once, and the factor does not grow with the slots."""
    inputs = (Input((-1, 64), torch.float32, False), Input((64,), torch.float32, False))
    of_slot, of_weights = bytes_of(lambda x, factor: (x + 1) * factor, inputs, False)
    assert of_slot == 2 * 64 * 4 and of_weights == 64 * 4


def test_the_activations_of_xl_do_not_grow(xl: Counts) -> None:
    assert xl.activation_bytes < 13.8e9  # 13.4e9


def test_real_pairs_have_their_own_number_of_tokens(store: Path) -> None:
    found = count("xxs", stored_pairs(str(store), "CASIA-B", 8))
    assert found.tokens > 0 and found.tokens != 380
