"""Sums of products in half the memory and two thirds of the time: of a symmetric matrix one triangle is kept, in
LAPACK's rectangular full packed format (Gustavson et al. 2010), whose update is matrix products."""

import ctypes

import numpy as np
from numba.extending import get_cython_function_address
from scipy.linalg import blas, lapack

INTEGER, NUMBER = ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_double)
# C = C + AᵀA or AAᵀ, packed. SciPy's own `lapack.dsfrk` lets no other thread work meanwhile.
_DSFRK = ctypes.CFUNCTYPE(
    None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, INTEGER, INTEGER, NUMBER, ctypes.c_void_p, INTEGER, NUMBER,
    ctypes.c_void_p,
)(get_cython_function_address("scipy.linalg.cython_lapack", "dsfrk"))  # fmt: skip


def packed_size(width: int) -> int:
    """Numbers of one triangle."""
    return width * (width + 1) // 2


def add_square(packed: np.ndarray, x: np.ndarray) -> None:
    """Add xᵀx of x [n, p], float64, to a packed triangle [p (p + 1) / 2], in place."""
    x = np.ascontiguousarray(x, np.float64)
    right = packed.dtype == np.float64 and packed.flags.c_contiguous and packed.shape == (packed_size(x.shape[1]),)
    assert right, "LAPACK writes into its memory"
    width, rows, one = ctypes.c_int(x.shape[1]), ctypes.c_int(len(x)), ctypes.c_double(1.0)
    n, k, number = ctypes.byref(width), ctypes.byref(rows), ctypes.byref(one)
    _DSFRK(b"N", b"U", b"N", n, k, number, x.ctypes.data, n, number, packed.ctypes.data)


def add_product(product: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    """Add xᵀy of x [n, p] and y [n, q], float64, to a matrix [p, q], in place."""
    made = blas.dgemm(1.0, y.T, x.T, 1.0, product.T, trans_b=1, overwrite_c=1)  # columns first, as BLAS has them
    if made.ctypes.data != product.ctypes.data:
        product[...] = made.T


def packed(whole: np.ndarray) -> np.ndarray:
    """A symmetric matrix [p, p] as its triangle [p (p + 1) / 2]."""
    return lapack.dtrttf(np.asfortranarray(whole))[0]


def triangle(packed: np.ndarray, width: int) -> np.ndarray:
    """The upper triangle [p, p]; below the diagonal is 0."""
    return lapack.dtfttr(width, packed)[0]


def unpacked(packed: np.ndarray, width: int) -> np.ndarray:
    """The whole matrix [p, p]."""
    upper = triangle(packed, width)
    whole = upper + upper.T
    whole[np.diag_indices(width)] -= np.diag(upper)
    return whole


def squares_along(packed: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """wᵀSw for each direction w of [p, m] and the matrix S that is packed, [m]."""
    upper = triangle(packed, len(directions))
    twice = np.einsum("pm,pm->m", directions, upper @ directions)
    return 2 * twice - np.diag(upper) @ directions**2
