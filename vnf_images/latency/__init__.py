"""The delay element: passes frames between the two ports of each pair; the port's delay line does the delaying."""
