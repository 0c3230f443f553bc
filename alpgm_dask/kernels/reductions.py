"""Sums and extremes over contiguous arrays, in four lanes.

The lanes are written out: the processor can then add four numbers at a time, and the order of the additions is that of
the source on any processor, so that the last bits do not depend on the machine.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def total(a: np.ndarray) -> float:
    """Sum of `a`; 0 if it is empty.

    >>> total(np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    15.0
    """
    s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
    whole = a.size - a.size % 4
    for i in range(0, whole, 4):
        s0 += a[i]
        s1 += a[i + 1]
        s2 += a[i + 2]
        s3 += a[i + 3]
    for i in range(whole, a.size):
        s0 += a[i]
    return (s0 + s1) + (s2 + s3)


@njit(cache=True, nogil=True)
def extremes(a: np.ndarray) -> tuple[float, float]:
    """Smallest and largest of `a`, which must not be empty nor hold NaN.

    >>> extremes(np.array([1.0, 7.0, 3.0, -4.0, 5.0]))
    (-4.0, 7.0)
    """
    low0, low1, low2, low3 = a[0], a[0], a[0], a[0]
    high0, high1, high2, high3 = a[0], a[0], a[0], a[0]
    whole = a.size - a.size % 4
    for i in range(0, whole, 4):
        low0 = a[i] if a[i] < low0 else low0
        low1 = a[i + 1] if a[i + 1] < low1 else low1
        low2 = a[i + 2] if a[i + 2] < low2 else low2
        low3 = a[i + 3] if a[i + 3] < low3 else low3
        high0 = a[i] if a[i] > high0 else high0
        high1 = a[i + 1] if a[i + 1] > high1 else high1
        high2 = a[i + 2] if a[i + 2] > high2 else high2
        high3 = a[i + 3] if a[i + 3] > high3 else high3
    for i in range(whole, a.size):
        low0 = a[i] if a[i] < low0 else low0
        high0 = a[i] if a[i] > high0 else high0
    return min(min(low0, low1), min(low2, low3)), max(max(high0, high1), max(high2, high3))
