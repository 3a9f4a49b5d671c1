"""The steps of `spectrum` for a CPU, each in one pass over memory; Numba compiles.

Nothing is reordered, and a frame's values come from its own utterance alone, whatever lies around it. No setting of the
process (threads, precision of matrix products) is consulted, so none changes a bit."""

import numpy as np
from numba import njit
from numba.extending import intrinsic

F32, F64 = np.float32, np.float64
EPSILON = np.finfo(np.float32).eps
compiled = njit(nogil=True, cache=True)


@intrinsic
def _fused(typing_context, x, y, z):
    """x * y + z, rounded once, on any CPU."""
    return x(x, y, z), lambda context, builder, signature, values: builder.fma(*values)


@compiled
def window_frames(signal, hop, offsets, window, out):
    """Fill out [F, window or more] with frames of the signal, less their offsets [F], times the window [W], float64."""
    for f in range(len(out)):
        frame, samples, offset = out[f], signal[f * hop :], offsets[f]
        for n in range(len(window)):
            frame[n] = (samples[n] - offset) * window[n]


@compiled
def power(spectra, out):
    """Fill out [F, bins], float32, with squared magnitudes of spectra [F, 2 * bins], real and imaginary in turn."""
    for f in range(len(out)):
        row, spectrum = out[f], spectra[f]
        for k in range(len(row)):
            real, imaginary = F32(spectrum[2 * k]), F32(spectrum[2 * k + 1])
            row[k] = real * real + imaginary * imaginary


@compiled
def filter_bands(powers, filters, edges, block, out):
    """Fill out [F, bands], float32, with powers [F, bins] summed by filters [bands, bins], both float32.

    `edges` [bands, 2] say which bins a filter weighs. Each `block` of bins is summed from 0 and added to those before:
    the order of MKL's matrix product, which gives the features of earlier versions to the last bit."""
    for f in range(len(out)):
        row = powers[f]
        for band in range(len(filters)):
            weights, total = filters[band], F32(0)
            first, last = edges[band]
            while first < last:
                stop = min(first - first % block + block, last)
                part = F32(0)
                for k in range(first, stop):
                    part = _fused(row[k], weights[k], part)
                total += part
                first = stop
            out[f, band] = total


@compiled
def transform(x, matrix, out):
    """Fill out [F, N], float32, with x [F, K], float32, times matrix [K, N]; products and sums are float64."""
    total = np.empty(matrix.shape[1])
    for f in range(len(out)):
        total[:] = 0
        for k in range(len(matrix)):
            value = F64(x[f, k])
            for n in range(len(total)):
                total[n] = _fused(value, matrix[k, n], total[n])
        for n in range(len(total)):
            out[f, n] = total[n]


@compiled
def add_deltas(x, dim, weights):
    """Fill an utterance x [T, (1 + orders) * dim] behind its first part; see `spectrum.add_deltas`.

    `weights` [orders, 9], float32, are the derivatives of polynomials fitted to all of an utterance below 9 frames."""
    frames, orders = len(x), len(weights)
    if frames < 9:
        for d in range(dim):
            for order in range(orders):
                total = F32(0)
                for n in range(1, frames):
                    total += weights[order, n] * (x[n, d] - x[0, d])
                for t in range(frames):
                    x[t, (1 + order) * dim + d] = total
        return
    for t in range(4, frames - 4):
        out = x[t]
        for d in range(dim):
            total = x[t + 1, d] - x[t - 1, d]
            for n in range(2, 5):
                total += (x[t + n, d] - x[t - n, d]) * F32(n)
            out[dim + d] = total / F32(60)
        if orders == 2:
            for d in range(dim):
                twice = F32(2) * out[d]
                total = (x[t + 1, d] + x[t - 1, d] - twice) * F32(-17)
                total += (x[t + 2, d] + x[t - 2, d] - twice) * F32(-8)
                total += (x[t + 3, d] + x[t - 3, d] - twice) * F32(7)
                total += (x[t + 4, d] + x[t - 4, d] - twice) * F32(28)
                out[2 * dim + d] = total / F32(462)
    for t in range(4):
        x[t, dim:] = x[4, dim:]
        x[frames - 1 - t, dim:] = x[frames - 5, dim:]


@compiled
def normalise(x, parts):
    """Give an utterance x [T, D] mean 0 and variance 1, in place; see `spectrum.normalise`."""
    frames, dim = x.shape
    mean, scale = np.zeros(dim), np.zeros(dim)
    for t in range(frames):
        for d in range(dim):
            mean[d] += x[t, d]
    mean /= frames
    for t in range(frames):
        for d in range(dim):
            scale[d] += (x[t, d] - mean[d]) * (x[t, d] - mean[d])
    for d in range(dim):
        deviation = np.sqrt(scale[d] / frames)
        constant = deviation <= EPSILON * abs(mean[d % (dim // parts)])
        scale[d] = 0.0 if constant else 1 / (deviation + 1e-16)
    for t in range(frames):
        for d in range(dim):
            x[t, d] = (x[t, d] - mean[d]) * scale[d]
