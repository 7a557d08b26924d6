"""Random numbers of a message, independent of the order of execution: splitmix64 as a counter-based generator.

The order in which processes run must not change the delay of a message, so nothing here has a state: a draw is a
function of (seed, source, destination, sequence number, position).

Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014). One draw costs
about 0.5 us of Python; constructing a numpy Philox generator costs 20 times that.
"""

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_TO_UNIT = 2.0**-53


def mix(word: int) -> int:
    """Scramble a 64-bit word; every input bit flips about half of the output bits (splitmix64's finaliser)."""
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB & _MASK
    return word ^ (word >> 31)


def stream(seed: int, source: int, destination: int) -> int:
    """The stream of draws of one directed pair of ranks: a 64-bit integer to keep with the pair."""
    word = mix(seed + _GOLDEN & _MASK)
    word = mix(word + (source + 1) * _GOLDEN & _MASK)
    return mix(word + (destination + 1) * _GOLDEN & _MASK)


def key(stream: int, sequence: int) -> int:
    """The 64-bit key of message number `sequence` of a stream: output `sequence` of splitmix64(stream)."""
    return mix(stream + (sequence + 1) * _GOLDEN & _MASK)


def uniform(key: int, position: int) -> float:
    """Draw number `position` of a key: a multiple of 2**-53 in [0, 1)."""
    return (mix(key + (position + 1) * _GOLDEN & _MASK) >> 11) * _TO_UNIT
