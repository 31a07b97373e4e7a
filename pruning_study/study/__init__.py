"""Studies: a grid of runs, made by workers that share the steps among them."""
