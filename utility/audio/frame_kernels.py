"""The steps of `spectrum` for a CPU, each in one pass over memory; Numba compiles.

Nothing is reordered or fused, and a frame's values come from its own utterance alone, whatever lies around it."""

import numpy as np
from numba import njit

F32 = np.float32
EPSILON = np.finfo(np.float32).eps
compiled = njit(nogil=True, cache=True)


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
