"""The latency generator's element: a compiled loop that delays and impairs the frames of whole links."""
