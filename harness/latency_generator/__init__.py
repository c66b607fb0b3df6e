"""The latency generator: a process that delays and impairs the frames of whole links, where the kernel has no netem."""
