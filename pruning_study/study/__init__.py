"""Studies: grids of runs, whose steps are distributed over several workers."""
