"""Migration requests at a network that can carry C of them at once: lost (M/M/C/C) or queued (M/M/C).

Model of the paper on service function chain migration (IoTBDS 2017), Section 3. Requests arrive as a Poisson process of
rate lambda, each needs bit rate R of the total B for an exponential time of mean T: C = floor(B/R) channels, offered
load A = lambda*T erlang, utilisation rho = A/C. Nothing here forms a factorial: good for many thousands of channels.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from harness.models.domain import BoolArray, FloatArray, Grid, Values, array, below, check, masked, positive, whole

_RECURSION_STEPS_MAX = 50_000_000
"""Cells x channels up to which the recursion is as fast as the closed expressions, for at most so many channels."""
_RECURSION_CHANNELS_MAX = 10_000
_CHUNK_CELLS = 1 << 15
_FAR_DEVIATIONS = 30.0
"""Standard deviations of the load above C from which on the Poisson distribution function underflows."""


def channel_count(total_bps: Values, rate_bps: Values) -> Grid:
    """C = floor(B/R), Section 3.1: requests of R bit/s that B bit/s carry at once."""
    total, rate = array(total_bps), array(rate_bps)
    valid = check([positive(total, "total bit rate B in bit/s"), positive(rate, "bit rate R of a request in bit/s")])
    with np.errstate(all="ignore"):
        count = np.floor(total / rate * (1 + 4 * np.finfo(float).eps))
    return masked(count, valid & check([whole(count, "number of channels C = floor(B/R)")]))


def offered_load(arrival_per_s: Values, service_s: Values) -> Grid:
    """A = lambda*T in erlang, of the arrival rate in requests/s and the mean service time in s (Section 3.1)."""
    arrival, service = array(arrival_per_s), array(service_s)
    valid = check([positive(arrival, "arrival rate lambda in 1/s"), positive(service, "mean service time T in s")])
    with np.errstate(all="ignore"):
        return masked(arrival * service, valid)


def blocking(arrival_per_s: Values, service_s: Values, channels: Values) -> Grid:
    """Probability that a request is blocked and lost, Section 3.1 (Erlang B): (A^C/C!)/sum of A^k/k! for k = 0..C.

    By the recursion b_0 = 1, b_k = A b/(k + A b); on grids where that is too slow by the incomplete gamma function.
    """
    load, count = offered_load(arrival_per_s, service_s), array(channels)
    valid = ~np.ma.getmaskarray(load) & check([whole(count, "number of channels C")])
    return masked(erlang_b(load.data, count, valid), valid)


def waiting_probability(arrival_per_s: Values, service_s: Values, channels: Values) -> Grid:
    """Probability that a request has to wait, Section 3.2 (Erlang C): P0 A^C/(C! (1 - rho)) = b/(1 - rho (1 - b))."""
    _, _, waits, valid = _queue(arrival_per_s, service_s, channels)
    return masked(waits, valid)


def empty_probability_log(arrival_per_s: Values, service_s: Values, channels: Values) -> Grid:
    """ln P0, natural logarithm of the probability that no request is present (Section 3.2).

    P0 = 1/(sum of A^k/k! for k < C, plus A^C/(C! (1 - rho))); P0 itself underflows for a load above 745 erlang.
    """
    load, rho, waits, valid = _queue(arrival_per_s, service_s, channels)
    count = array(channels)
    with np.errstate(all="ignore"):
        # From P(wait) = P0 A^C/(C! (1 - rho)); where P(wait) underflows, P0 = exp(-A) to the last digit.
        exact = np.log(waits) + np.log1p(-rho) + special.gammaln(count + 1) - count * np.log(load)
        return masked(np.where(waits > 0, exact, -load), valid)


def queue_length(arrival_per_s: Values, service_s: Values, channels: Values) -> Grid:
    """Lq, mean number of waiting requests, Eq. 22: P0 A^C rho/(C! (1 - rho)^2)."""
    _, rho, waits, valid = _queue(arrival_per_s, service_s, channels)
    with np.errstate(all="ignore"):
        return masked(waits * rho / (1 - rho), valid)


def waiting_time(arrival_per_s: Values, service_s: Values, channels: Values) -> Grid:
    """Wq in s, mean time a request waits before its migration begins, Eq. 23: Lq/lambda."""
    length = queue_length(arrival_per_s, service_s, channels)
    with np.errstate(all="ignore"):
        return masked(length.data / array(arrival_per_s), ~np.ma.getmaskarray(length))


def largest_arrival_per_s(service_s: Values, channels: Values) -> Grid:
    """C/T in 1/s: the queue is stable below this arrival rate."""
    service, count = array(service_s), array(channels)
    valid = check([positive(service, "mean service time T in s"), whole(count, "number of channels C")])
    with np.errstate(all="ignore"):
        return masked(count / service, valid)


def erlang_b(load: FloatArray, channels: FloatArray, valid: BoolArray) -> FloatArray:
    """Erlang B of loads in erlang and channel counts; cells that are not `valid` come out undefined."""
    load, channels, valid = np.broadcast_arrays(load, channels, valid)
    a, c = np.where(valid, load, 1.0).ravel(), np.where(valid, channels, 1.0).ravel()
    if a.size == 0:
        return a.reshape(load.shape)
    most = float(c.max())
    short = most <= _RECURSION_CHANNELS_MAX and a.size * most <= _RECURSION_STEPS_MAX
    choose = _recursion if short else _closed
    # In pieces that stay in the processor's cache.
    pieces = [choose(a[i : i + _CHUNK_CELLS], c[i : i + _CHUNK_CELLS]) for i in range(0, a.size, _CHUNK_CELLS)]
    return np.concatenate(pieces).reshape(load.shape)


def _recursion(load: FloatArray, channels: FloatArray) -> FloatArray:
    """b_k = A b/(k + A b) up to each cell's number of channels."""
    b: FloatArray = np.ones_like(load)
    least, most = int(channels.min()), int(channels.max())
    step = np.empty_like(load)
    for k in range(1, most + 1):
        np.multiply(load, b, out=step)
        if k <= least:
            np.divide(step, step + k, out=b)
        else:
            np.divide(step, step + k, out=b, where=channels >= k)
    return b


def _closed(load: FloatArray, channels: FloatArray) -> FloatArray:
    """Poisson mass over distribution function; far above C, where that underflows, the series of the inverse."""
    with np.errstate(all="ignore"):
        # ln of A^C e^-A/C! without cancellation of its large terms: Loader's saddle point form, by relative entropy.
        log_mass = -special.kl_div(channels, load) - _stirling_rest(channels)
        b: FloatArray = np.exp(log_mass) / special.gammaincc(channels + 1, load)
    far = load > channels + _FAR_DEVIATIONS * np.sqrt(channels)
    if far.any():
        b = np.where(far, 0.0, b)
        b[far] = _inverse_series(load[far], channels[far])
    return b


def _stirling_rest(count: FloatArray) -> FloatArray:
    """ln C! - (C ln C - C)."""
    small = special.gammaln(count + 1) - special.xlogy(count, count) + count
    inverse = 1 / count
    series: FloatArray = inverse * (1 / 12 - inverse**2 * (1 / 360 - inverse**2 / 1260))
    return np.where(count < 64, small, 0.5 * np.log(2 * np.pi * count) + series)


def _inverse_series(load: FloatArray, channels: FloatArray) -> FloatArray:
    """1/(1 + C/A + C(C - 1)/A^2 + ...): its terms fall from the first on, for A > C."""
    term = np.ones_like(load)
    total = np.ones_like(load)
    k = 0
    while float(term.max()) > 1e-18:
        term *= np.maximum(channels - k, 0) / load
        total += term
        k += 1
    return 1 / total


def _queue(
    arrival_per_s: Values, service_s: Values, channels: Values
) -> tuple[FloatArray, FloatArray, FloatArray, BoolArray]:
    """A, rho, P(wait) and the cells where the queue is stable."""
    offered, count = offered_load(arrival_per_s, service_s), array(channels)
    counted = whole(count, "number of channels C")
    load = offered.data
    with np.errstate(all="ignore"):
        rho = load / count
    present = ~np.ma.getmaskarray(offered)
    stable = below(
        rho, 1, "utilisation rho = lambda*T/C must be below 1 (above it the queue is unstable: it grows without end)"
    )
    valid = present & check([counted, stable])
    b = erlang_b(load, count, valid)
    with np.errstate(all="ignore"):
        return load, rho, b / (1 - rho * (1 - b)), valid
