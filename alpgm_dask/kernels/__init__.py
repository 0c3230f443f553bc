"""Arrays in, arrays out: NumPy and Numba only.

Every loop runs over the pixels of one glacier in their stored order and nothing is reassociated (no fastmath), so a
glacier's numbers do not depend on its neighbours, its block or the number of workers, to the last bit.
"""
