"""A Gaussian process for SMB: which features it compares, how it learns, predicts and draws."""

from alpgm_dask.smb.process.model import GaussianProcess

__all__ = ["GaussianProcess"]
