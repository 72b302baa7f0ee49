"""Keccak-256 as Ethereum uses it (the original padding, not SHA-3's), EIP-55 addresses and counter triple ids."""
from functools import lru_cache

_MASK = (1 << 64) - 1
_RATE = 136


def _round_constants():
    lfsr = 1
    for _ in range(24):
        constant = 0
        for bit in (0, 1, 3, 7, 15, 31, 63):
            if lfsr & 1:
                constant |= 1 << bit
            lfsr = (lfsr << 1) ^ (0x171 if lfsr & 0x80 else 0)
        yield constant


def _rotations():
    x, y, path = 1, 0, []
    for t in range(24):
        path.append((x + 5 * y, ((t + 1) * (t + 2) // 2) % 64))
        x, y = y, (2 * x + 3 * y) % 5
    return path


_CONSTANTS = list(_round_constants())
_ROTATE = dict(_rotations())
# after rho and pi, lane (x, y) stands at (y, 2x + 3y): (from, to, by)
_MOVES = [(x + 5 * y, y + 5 * ((2 * x + 3 * y) % 5), _ROTATE.get(x + 5 * y, 0)) for x in range(5) for y in range(5)]


def _permute(a):
    b = [0] * 25
    for constant in _CONSTANTS:
        c = [a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20] for x in range(5)]
        d = [c[x - 1] ^ ((c[(x + 1) % 5] << 1 | c[(x + 1) % 5] >> 63) & _MASK) for x in range(5)]
        for source, target, by in _MOVES:
            lane = a[source] ^ d[source % 5]
            b[target] = (lane << by | lane >> (64 - by)) & _MASK
        a = [b[i] ^ (~b[i - i % 5 + (i + 1) % 5] & b[i - i % 5 + (i + 2) % 5]) for i in range(25)]
        a[0] ^= constant
    return a


@lru_cache(maxsize=1 << 16)
def keccak256(data):
    padded = data + b"\x01" + b"\0" * (_RATE - 1 - len(data) % _RATE)
    padded = padded[:-1] + bytes([padded[-1] | 0x80])
    state = [0] * 25
    for start in range(0, len(padded), _RATE):
        for i in range(_RATE // 8):
            state[i] ^= int.from_bytes(padded[start + 8 * i:start + 8 * i + 8], "little")
        state = _permute(state)
    return b"".join(lane.to_bytes(8, "little") for lane in state[:4])


@lru_cache(maxsize=None)
def checksum_address(digits):
    """40 lower-case hex digits -> the EIP-55 address."""
    mask = keccak256(digits.encode()).hex()
    return "0x" + "".join(c.upper() if int(m, 16) >= 8 else c for c, m in zip(digits, mask))


_COUNTER_SALT = keccak256(b"COUNTER_SALT")


@lru_cache(maxsize=None)
def counter_id(term_id):
    """The counter triple's id of a triple's id, both as 0x and 64 lower-case hex digits."""
    return "0x" + keccak256(_COUNTER_SALT + bytes.fromhex(term_id[2:])).hex()
