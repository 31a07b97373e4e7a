"""From tracking server to statistics: what pruning did to each class."""
