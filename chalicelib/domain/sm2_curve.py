"""Points of the SM2 curve sm2p256v1 (GB/T 32918.5) on plain integers: multiples of its base point, and of any point.

Jacobian coordinates: (X, Y, Z) stands for the point (X/Z², Y/Z³), and Z = 0 for the point at infinity. The formulas are
dbl-2001-b and madd of the Explicit-Formulas Database, for a = -3; equal and opposite points are told apart.

Multiples are read from combs (Lim and Lee, 1994): with the sums of a few widely spaced powers of a point at hand, 256
doublings become 52, or 32 for the base point. Making the comb of a new point costs about as much as one multiplication
does without, and those of the last points are kept: a few authorities sign nearly all that is checked.

Integers of Python do not take constant time, and neither does this module: see `secret_multiple`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from functools import cache, lru_cache
from itertools import accumulate
from typing import Final, NamedTuple

#: A point in affine coordinates. The point at infinity has none.
Point = tuple[int, int]
_Jacobian = tuple[int, int, int]

#: The curve y² = x³ + ax + b over the integers modulo P, with base point G of the prime order N.
P: Final = 0xFFFFFFFE_FFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFF_00000000_FFFFFFFF_FFFFFFFF
A: Final = P - 3
B: Final = 0x28E9FA9E_9D9F5E34_4D5A9E4B_CF6509A7_F39789F5_15AB8F92_DDBCBD41_4D940E93
N: Final = 0xFFFFFFFE_FFFFFFFF_FFFFFFFF_FFFFFFFF_7203DF6B_21C6052B_53BBF409_39D54123
G: Final[Point] = (
    0x32C4AE2C_1F198119_5F990446_6A39C994_8FE30BBF_F2660BE1_715A4589_334C74C7,
    0xBC3736A2_F4F6779C_59BDCEE3_6B692153_D0A9877C_C62A4740_02DF32E5_2139F0A0,
)

_INFINITY: Final[_Jacobian] = (1, 1, 0)
#: A comb of 8 teeth has 255 points and is made in 2 ms; one of 5 has 31.
_TEETH_OF_BASE: Final = 8
_TEETH: Final = 5
#: How many points' combs are kept; one takes about 6 KB.
_KEPT: Final = 256


class _Comb(NamedTuple):
    """Sums of a point's powers: at index i, those 2**(columns · j) times the point for which bit j of i is set."""

    columns: int
    sums: list[Point]

    def steps(self, scalar: int) -> list[list[Point]]:
        """What to add after each doubling, to arrive at `scalar` times the point."""
        bits = f"{scalar:0256b}".zfill(-(-256 // self.columns) * self.columns)
        digits = (int(bits[column :: self.columns], 2) for column in range(self.columns))
        return [[self.sums[digit]] if digit else [] for digit in digits]


def on_curve(point: Point) -> bool:
    """Whether both coordinates are in range and fulfil the curve's equation. N being prime, it then has order N."""
    x, y = point
    return 0 <= x < P and 0 <= y < P and (y * y - (x * x + A) * x - B) % P == 0


def solve(x: int, *, odd: bool) -> Point | None:
    """The point with this x and an odd or even y; ``None`` when there is none."""
    y = pow(((x * x + A) * x + B) % P, (P + 1) // 4, P)
    point = x, y if y & 1 == odd else P - y
    return point if on_curve(point) else None


def secret_multiple(scalar: int) -> Point:
    """`scalar`·G, 0 < `scalar` < N, for a scalar that is secret.

    The scalar is split into two random summands, and the coordinates begin with a random factor, so that what the time
    of one run tells concerns numbers that no other run has. That is blinding, not constant time: an attacker who
    watches the processor itself (caches, power) in a single run is not held off.
    """
    mask = secrets.randbelow(N)
    comb = _base_comb()
    both = zip(comb.steps(mask), comb.steps((scalar - mask) % N), strict=True)
    point = _affine(_evaluate((one + two for one, two in both), 1 + secrets.randbelow(P - 1)))
    if point is None:
        raise ValueError("a multiple of the base point's order")
    return point


def sum_of_multiples(of_base: int, of_point: int, point: Point) -> Point | None:
    """`of_base`·G + `of_point`·`point`, for public numbers below N; ``None`` for the point at infinity."""
    steps = _comb_of(point).steps(of_point)
    base_steps = _base_comb().steps(of_base)
    for step, more in zip(reversed(steps), reversed(base_steps), strict=False):
        step.extend(more)
    return _affine(_evaluate(steps, 1))


@cache
def _base_comb() -> _Comb:
    return _make_comb(G, _TEETH_OF_BASE)


@lru_cache(maxsize=_KEPT)
def _comb_of(point: Point) -> _Comb:
    return _make_comb(point, _TEETH)


def _make_comb(point: Point, teeth: int) -> _Comb:
    columns = -(-256 // teeth)
    powers = accumulate(range(columns * (teeth - 1)), lambda power, _: _double(power), initial=(*point, 1))
    sums = [_INFINITY]
    for tooth in _all_affine([power for number, power in enumerate(powers) if number % columns == 0]):
        sums += [_add(before, tooth) for before in sums]
    return _Comb(columns, [point, *_all_affine(sums[1:])])


def _evaluate(steps: Iterable[list[Point]], blind: int) -> _Jacobian:
    """Double, then add what the step says, from the first to the last (Horner's rule)."""
    total = _INFINITY
    for step in steps:
        total = _double(total)
        for point in step:
            total = _add(total, point, blind)
    return total


def _double(point: _Jacobian) -> _Jacobian:
    x, y, z = point
    delta = z * z % P
    gamma = y * y % P
    beta = x * gamma % P
    alpha = 3 * (x - delta) * (x + delta) % P
    doubled = (alpha * alpha - 8 * beta) % P
    return doubled, (alpha * (4 * beta - doubled) - 8 * gamma * gamma) % P, 2 * y * z % P


def _add(point: _Jacobian, added: Point, blind: int = 1) -> _Jacobian:
    """The sum; `blind` becomes its Z when `point` is at infinity."""
    x, y, z = point
    if not z:
        square = blind * blind % P
        return added[0] * square % P, added[1] * (square * blind % P) % P, blind
    square = z * z % P
    h = added[0] * square % P - x
    r = added[1] * (square * z % P) % P - y
    if not h:
        return _INFINITY if r else _double(point)
    squared_h = h * h % P
    cubed_h = h * squared_h % P
    v = x * squared_h % P
    total = (r * r - cubed_h - 2 * v) % P
    return total, (r * (v - total) - y * cubed_h) % P, z * h % P


def _affine(point: _Jacobian) -> Point | None:
    return _all_affine([point])[0] if point[2] else None


def _all_affine(points: list[_Jacobian]) -> list[Point]:
    """The same points, none of them at infinity, for the price of one inversion (Montgomery's trick)."""
    products = list(accumulate((z for _, _, z in points), lambda product, z: product * z % P, initial=1))
    inverse = pow(products.pop(), -1, P)
    found = []
    for x, y, z in reversed(points):
        own = inverse * products.pop() % P
        inverse = inverse * z % P
        square = own * own % P
        found.append((x * square % P, y * square * own % P))
    return found[::-1]
