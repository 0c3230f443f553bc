"""Physical constants and conventions: value, unit, source.

Every number that a formula of this package uses and that is not a setting stands here, once.
"""

from __future__ import annotations

#: kg m-3. Converts a change of ice volume to a change of mass (Huss 2013, doi:10.5194/tc-7-877-2013).
#: It is not the density of ice: firn and snow take part in the change.
CONVERSION_DENSITY = 850.0

#: kg m-3. Density of water, so that 1 m w.e. is 1000 kg m-2.
WATER_DENSITY = 1000.0

#: K m-1. Decrease of air temperature with elevation (ALPGM, Bolibar et al. 2020, doi:10.5194/tc-14-565-2020).
LAPSE_RATE = 6.0e-3

#: K. 0 degC.
MELTING_POINT = 273.15

#: m2. Below this area a glacier thins evenly over all of its pixels (ALPGM, Bolibar et al. 2020).
FLAT_BELOW_AREA = 0.5e6

#: 1. The tongue is the lowermost fifth of a glacier's elevation range (ALPGM's slope20).
TONGUE_FRACTION = 0.2

#: first and last hydrological year of the climatology that predictors are anomalies of (ALPGM).
REFERENCE_PERIOD = (1967, 2015)

#: month in which a hydrological year begins; hydrological year Y is 1 October Y-1 to 30 September Y.
HYDRO_YEAR_START_MONTH = 10

#: m2. One square kilometre.
KM2 = 1.0e6

#: m3. One cubic kilometre.
KM3 = 1.0e9

#: m s-2. Standard gravity: geopotential divided by it is geopotential height (3rd CGPM, 1901; WMO).
STANDARD_GRAVITY = 9.80665
