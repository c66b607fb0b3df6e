"""`harness bench`: what this machine's packet path can do, every figure with its spread, ratios within one call."""

from harness.bench.bench import run_bench

__all__ = ["run_bench"]
