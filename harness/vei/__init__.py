"""VNF environment instance (paper, section IV-A): the process that loads an image, runs it, and migrates its state."""
