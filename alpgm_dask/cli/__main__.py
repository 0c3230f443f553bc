"""``python -m alpgm_dask.cli``."""

import sys

from alpgm_dask.cli import main

sys.exit(main())
