"""Draws are splitmix64's, and they depend on their key alone."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from emulator.network.draws import key, stream, uniform

ranks = st.integers(0, 100_000)
words = st.integers(0, 2**64 - 1)


def test_keys_are_the_outputs_of_splitmix64():
    # The first outputs of the reference implementation for the seed 1234567.
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert [key(1234567, sequence) for sequence in range(4)] == expected


@given(words, st.integers(0, 10_000))
def test_a_uniform_lies_in_the_half_open_unit_interval(word, position):
    assert 0 <= uniform(word, position) < 1


@given(st.integers(-(2**70), 2**70), ranks, ranks, st.integers(0, 2**40))
def test_any_seed_and_any_sequence_number_give_a_64_bit_key(seed, source, destination, sequence):
    assert 0 <= key(stream(seed, source, destination), sequence) < 2**64


def test_streams_of_different_pairs_differ_in_both_directions_and_for_each_seed():
    names = [stream(seed, a, b) for seed, a, b in itertools.product(range(4), range(40), range(40))]
    assert len(set(names)) == len(names)


def test_uniforms_fill_the_interval_evenly():
    counts = [0] * 10
    for sequence in range(20_000):
        counts[int(10 * uniform(key(stream(1, 2, 3), sequence), 0))] += 1
    # Chi square with 9 degrees of freedom: 27.9 is its 99.9 % point; the draws are fixed.
    assert sum((count - 2000) ** 2 / 2000 for count in counts) < 27.9


def test_neighbouring_positions_are_uncorrelated():
    pairs = [(uniform(key(7, s), 0) - 0.5, uniform(key(7, s), 1) - 0.5) for s in range(20_000)]
    assert abs(sum(a * b for a, b in pairs) / len(pairs) * 12) < 0.03
