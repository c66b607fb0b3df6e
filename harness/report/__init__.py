"""Output made from run directories alone, and the live view of a run."""
