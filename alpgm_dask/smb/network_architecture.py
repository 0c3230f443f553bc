"""What the networks of an ensemble look like, and how their trained weights become layers that predict."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from alpgm_dask.kernels.network import Dense, Layer, Leaky, Scale, Swish, batch_norm, fold
from alpgm_dask.schema import InputError

#: Added to a variance in batch normalization (as Keras does), and slope of the leaky rectifier (as ALPGM's).
EPSILON, LEAK = 1e-3, 0.05

#: Weights of several networks by name: kernel_k (network, n_in, n_out); bias_k and, with batch normalization, gamma_k,
#: beta_k, mean_k, variance_k (network, n_out), for layer k.
Weights = dict[str, np.ndarray]

NORM = ("gamma", "beta", "mean", "variance")


@dataclass(frozen=True)
class Architecture:
    """What a network looks like and how it is trained.

    Attributes
    ----------
    widths
        Units of the hidden layers; one output follows.
    activation
        "leaky_relu" (slope 0.05) or "swish".
    batch_norm
        Whether a batch normalization stands between a layer and its activation.
    dropout
        Share of units dropped after each hidden layer (one for all, or one each).
    noise
        Standard deviation of the noise added to the standardised features in training.
    loss
        "mse" or "rmse", of a batch.
    optimizer, learning_rate
        "adam" or "rmsprop", and its step.
    l2
        Penalty of the sum of squared weights, with the target standardised.
    batch_size
        Rows of a step.
    """

    widths: tuple[int, ...] = (64, 32)
    activation: str = "swish"
    batch_norm: bool = False
    dropout: float | tuple[float, ...] = 0.25
    noise: float = 0.0
    loss: str = "mse"
    optimizer: str = "adam"
    learning_rate: float = 2e-3
    l2: float = 2e-3
    batch_size: int = 64

    def rates(self) -> tuple[float, ...]:
        """The dropout of every hidden layer."""
        return self.dropout if isinstance(self.dropout, tuple) else (self.dropout,) * len(self.widths)

    def names(self) -> list[str]:
        """Names of the weights, as in :data:`Weights`."""
        last = len(self.widths)
        plain = [f"{name}_{k}" for k in range(last + 1) for name in ("kernel", "bias")]
        return plain + [f"{name}_{k}" for k in range(last) for name in NORM if self.batch_norm]

    def checked(self) -> Architecture:
        """Itself, refused (InputError) if a value cannot be."""
        if not self.widths or not all(isinstance(w, int) and w > 0 for w in self.widths):
            raise InputError(f"architecture: widths {self.widths}; allowed: a positive whole number for each layer")
        rates = self.rates()
        if len(rates) != len(self.widths) or not all(_number(r) and 0 <= r < 1 for r in rates):
            raise InputError(f"architecture: dropout {self.dropout}; allowed: from 0 to below 1, one or one a layer")
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise InputError(
                    f"architecture: {name} {getattr(self, name)!r}; allowed: {', '.join(map(str, allowed))}"
                )
        for name in ("noise", "l2", "learning_rate", "batch_size"):
            value = getattr(self, name)
            if not _number(value) or value < 0 or (value == 0 and name in ("learning_rate", "batch_size")):
                raise InputError(f"architecture: {name} {value!r}; allowed: a positive number")
        return self


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and bool(np.isfinite(value))


CHOICES: dict[str, tuple[Any, ...]] = {
    "activation": ("leaky_relu", "swish"),
    "loss": ("mse", "rmse"),
    "optimizer": ("adam", "rmsprop"),
    "batch_norm": (True, False),
}

#: "published" is ALPGM's 40-20-10-5-1 (Bolibar et al. 2020, doi:10.5194/tc-14-565-2020), with the loss, optimizer and
#: dropout that the files of its networks for left-out glaciers hold. ALPGM gave it raw features and a linear layer of
#: 34 in front; here features are standardised, and a linear layer before another one would add nothing.
ARCHITECTURES: dict[str, Architecture] = {
    "default": Architecture(),
    "published": Architecture(
        (40, 20, 10, 5), "leaky_relu", True, (0.2, 0.1, 0.05, 0.01), 0.0, "rmse", "rmsprop", 1e-3, 0.0, 34
    ),
}


def architecture_of(given: str | tuple[int, ...] | dict[str, Any]) -> Architecture:
    """An architecture by name, by its widths, or by what differs from the default.

    >>> architecture_of("published").widths, architecture_of((16, 8)).widths, architecture_of({"l2": 0.1}).l2
    ((40, 20, 10, 5), (16, 8), 0.1)

    Raises
    ------
    InputError
        For an unknown name or attribute, and values that cannot be.
    """
    if isinstance(given, str):
        if given not in ARCHITECTURES:
            raise InputError(f"architecture {given!r} is not known; allowed: {', '.join(ARCHITECTURES)}, widths")
        return ARCHITECTURES[given]
    changes = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()} if isinstance(given, dict) else None
    if changes is None:
        changes = {"widths": tuple(np.atleast_1d(given).tolist())}
    unknown = set(changes) - set(Architecture.__dataclass_fields__)
    if unknown:
        allowed = ", ".join(Architecture.__dataclass_fields__)
        raise InputError(f"architecture: {sorted(unknown)[0]!r} is not known; allowed: {allowed}")
    return replace(ARCHITECTURES["default"], **changes).checked()


def start(how: Architecture, n_features: int, random: list[np.random.Generator]) -> Weights:
    """Weights before training: normal, of variance 2 / n_in (He et al. 2015, doi:10.1109/ICCV.2015.123, eq. 10)."""
    out, n_in = {}, n_features
    for k, width in enumerate((*how.widths, 1)):
        out[f"kernel_{k}"] = np.stack([r.normal(0, np.sqrt(2 / n_in), (n_in, width)) for r in random])
        out[f"bias_{k}"] = np.zeros((len(random), width))
        if how.batch_norm and k < len(how.widths):
            for name, value in zip(NORM, (1.0, 0.0, 0.0, 1.0), strict=True):
                out[f"{name}_{k}"] = np.full((len(random), width), value)
        n_in = width
    return out


def folded(weights: Weights, how: Architecture, scaling: dict[str, np.ndarray]) -> list[Layer]:
    """Trained networks as layers from raw features to SMB: the standardisation of both is folded in."""
    factor = 1.0 / scaling["feature_scale"]
    steps: list[Any] = [Scale(factor[None], (-scaling["feature_mean"] * factor)[None])]
    for k in range(len(how.widths)):
        steps.append(Dense(weights[f"kernel_{k}"], weights[f"bias_{k}"]))
        if how.batch_norm:
            steps.append(batch_norm(*(weights[f"{name}_{k}"].astype("float64") for name in NORM), EPSILON))
        steps.append(Swish() if how.activation == "swish" else Leaky(LEAK))
    last = len(how.widths)
    steps.append(Dense(weights[f"kernel_{last}"], weights[f"bias_{last}"]))
    steps.append(Scale(np.reshape(scaling["target_scale"], (1, 1)), np.reshape(scaling["target_mean"], (1, 1))))
    return fold(steps)
