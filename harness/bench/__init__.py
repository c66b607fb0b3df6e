"""`harness bench`: what this machine's packet path can do, every figure with its spread, ratios within one call."""
