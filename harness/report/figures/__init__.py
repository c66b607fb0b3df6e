"""The report's figures: each as data, drawn by one module, listed in `registry`."""
