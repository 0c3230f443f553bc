"""What becomes of the mass balances that the models of an ensemble give: scaled losses, mean and spread."""

from __future__ import annotations

import numpy as np


def scale_losses(smb: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Negative mass balances times a factor, others as they are (ALPGM's correction, Bolibar et al. 2020, as coded).

    Parameters
    ----------
    smb
        (..., glacier) m w.e.
    factor
        (glacier,) 1 leaves a glacier as it is.

    >>> scale_losses(np.array([[-2.0, -2.0], [1.0, 1.0]]), np.array([1.0, 0.5])).tolist()
    [[-2.0, -1.0], [1.0, 1.0]]
    """
    return np.where(smb < 0, smb * factor, smb)


def mean_and_spread(members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation over (smb_member, glacier), each (glacier,), added member by member.

    NumPy adds in another order where there is a single glacier, and a glacier's last digits would depend on its block.

    >>> [part.tolist() for part in mean_and_spread(np.array([[1.0, 0.0], [3.0, 0.0]]))]
    [[2.0, 0.0], [1.0, 0.0]]
    """
    total, squares = np.zeros(members.shape[1]), np.zeros(members.shape[1])
    for member in members:
        total += member
    mean = total / len(members)
    for member in members:
        squares += (member - mean) ** 2
    return mean, np.sqrt(squares / len(members))
