"""Methods that keep pruning from costing some classes more than others, each a module of its own."""
