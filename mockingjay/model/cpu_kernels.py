"""Softmax, dropout and their gradients on a CPU, each in one pass over memory; Numba compiles.

Arrays hold float32, or bfloat16 as uint16. What is dropped follows from seed and place: never stored, drawn again."""

import math

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, overload

U32, I32, F32 = np.uint32, np.int32, np.float32
# Sums may be reordered (and so vectorised) only where rounding does not depend on the order of operations.
EXACT = {"nogil": True, "cache": True, "fastmath": {"contract"}}
FAST = {"nogil": True, "cache": True, "fastmath": True}

LOG2_E = F32(1 / math.log(2))
LN2_HIGH, LN2_LOW = F32(0.693359375), F32(-2.12194440e-4)  # their sum is ln 2 to 36 bits
ROUND = F32(3 << 22)  # adding it leaves the nearest whole number in the low bits
LOWEST = F32(-87.0)  # exp of less is not a normal number
TAYLOR = tuple(F32(1 / math.factorial(k)) for k in range(8))


def _bitcast(signature, to_llvm):
    def cast(typing_context, x):
        return signature, lambda context, builder, signature, arguments: builder.bitcast(arguments[0], to_llvm)

    return intrinsic(cast)


_as_float = _bitcast(types.float32(types.uint32), ir.FloatType())
_as_bits = _bitcast(types.uint32(types.float32), ir.IntType(32))


def _by_type(choose):
    """A function for compiled code; `choose` gives the implementation for the types of its arguments."""

    def placeholder(*arguments):
        raise NotImplementedError("for compiled code only")

    overload(placeholder, inline="always")(choose)
    return placeholder


@_by_type
def _value(x):
    """The number that an array's element stands for, as float32."""
    if x == types.uint16:
        return lambda x: _as_float(U32(x) << U32(16))
    return lambda x: x


@_by_type
def _stored(x, like):
    """A float32 rounded to what an array holds whose elements are as `like`."""
    if like == types.uint16:
        return lambda x, like: np.uint16((_as_bits(x) + U32(0x7FFF) + ((_as_bits(x) >> U32(16)) & U32(1))) >> U32(16))
    return lambda x, like: x


@njit(**EXACT, inline="always")
def _random(k, start, step):
    """32 bits of place k, random in the upper half: the hash lowbias32 (C. Wellons 2018) of start, start + step, ...
    but for its last step, which mends the lower half."""
    x = U32(U32(k) * step + start)
    x = U32((x ^ (x >> U32(16))) * U32(0x7FEB352D))
    return U32((x ^ (x >> U32(15))) * U32(0x846CA68B))


@njit(**EXACT, inline="always")
def _exp(x):
    """exp(x) for x <= 0 to 1e-7 of it, never less than exp(-87)."""
    x = max(x, LOWEST)
    whole = x * LOG2_E + ROUND
    rest = (whole - ROUND) * -LN2_HIGH + x
    rest = (whole - ROUND) * -LN2_LOW + rest
    result = TAYLOR[7]
    result = result * rest + TAYLOR[6]
    result = result * rest + TAYLOR[5]
    result = result * rest + TAYLOR[4]
    result = result * rest + TAYLOR[3]
    result = result * rest + TAYLOR[2]
    result = result * rest + TAYLOR[1]
    result = result * rest + TAYLOR[0]
    return _as_float(U32(_as_bits(result) + (_as_bits(whole) << U32(23))))


@njit(**EXACT, inline="always")
def _ordered(bits):
    """The bits of a float32 as a whole number that is greater where the float32 is, and back."""
    return I32(bits ^ I32(I32(bits >> I32(31)) & I32(0x7FFFFFFF)))


@njit(**FAST)
def _largest(row, count):
    top = I32(-(2**31))
    for k in range(count):  # of whole numbers: LLVM does not vectorise the maximum of floats
        top = max(top, _ordered(I32(_as_bits(_value(row[k])))))
    return _as_float(U32(_ordered(I32(top))))


@njit(**FAST)
def _sum(row, count):
    total = F32(0)
    for k in range(count):
        total += row[k]
    return total


@njit(**EXACT)
def softmax_dropout(scores, logsum, counts, causal, steepness, threshold, scale, streams):
    """Scores [N, T, T] to weights, in place: softmax of `steepness` * scores over the first `counts` [N] keys (under
    `causal` at most the query's own), then dropout of those whose random bits are below `threshold`; `scale` multiplies
    the others. `streams` [N, 2] are start and step of each head's random sequence.

    `logsum` [N, T] gets the logarithm of each row's sum of exponentials."""
    heads, frames, keys = scores.shape
    exponentials = np.empty(keys, np.float32)
    for n in range(heads):
        step = streams[n, 1]
        for t in range(frames):
            row = scores[n, t]
            count = min(counts[n], t + 1) if causal else counts[n]
            top = _largest(row, count) * steepness
            for k in range(count):
                exponentials[k] = _exp(_value(row[k]) * steepness - top)
            total = _sum(exponentials, count)
            logsum[n, t] = top + F32(math.log(total))
            factor, start = scale / total, U32(U32(t * keys) * step + streams[n, 0])
            for k in range(count):
                weight = exponentials[k] * factor if _random(k, start, step) >= threshold else F32(0)
                row[k] = _stored(weight, row[k])
            row[count:] = 0


@njit(**EXACT)
def softmax_dropout_backward(scores, slopes, logsum, share, counts, causal, steepness, threshold, scale, streams):
    """In place, from scores and the gradients [N, T, T] of their weights: the weights, and the gradients of the scores.

    `share` [N, T] is each row's sum of weight times gradient; the rest is as in `softmax_dropout`."""
    heads, frames, keys = scores.shape
    for n in range(heads):
        step = streams[n, 1]
        for t in range(frames):
            row, slope = scores[n, t], slopes[n, t]
            count = min(counts[n], t + 1) if causal else counts[n]
            shift, mean, start = logsum[n, t], share[n, t], U32(U32(t * keys) * step + streams[n, 0])
            for k in range(count):
                weight = _exp(_value(row[k]) * steepness - shift)
                kept = scale if _random(k, start, step) >= threshold else F32(0)
                slope[k] = _stored((_value(slope[k]) * kept - mean) * weight * steepness, slope[k])
                row[k] = _stored(weight * kept, row[k])
            row[count:] = 0
            slope[count:] = 0


@njit(**EXACT)
def dropout(x, base, out, first, threshold, scale, streams):
    """`base` + x [N] into `out`, elements of x left out or multiplied by `scale`; a base of size 0 is none.

    `first` is the place of x[0] in the random sequence, whose start and step are `streams` [1, 2]."""
    step = streams[0, 1]
    start = U32(U32(first) * step + streams[0, 0])
    if base.size:
        for k in range(len(x)):
            kept = scale if _random(k, start, step) >= threshold else F32(0)
            out[k] = _stored(_value(x[k]) * kept + _value(base[k]), out[k])
    else:
        for k in range(len(x)):
            kept = scale if _random(k, start, step) >= threshold else F32(0)
            out[k] = _stored(_value(x[k]) * kept, out[k])
