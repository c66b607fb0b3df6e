"""The papers' analytic models: one module per paper, each function with its equation, vectorised over grids."""
