"""Methods that keep pruning from harming some classes more than others."""
