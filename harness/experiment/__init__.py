"""An experiment: provision once, then one run per planned mode and repetition, everything recorded."""

from harness.experiment.experiment import ExperimentResult, run_experiment

__all__ = ["ExperimentResult", "run_experiment"]
