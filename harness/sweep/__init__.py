"""Many runs: a matrix of profiles, their repetitions in random order, resumed where they were interrupted."""
