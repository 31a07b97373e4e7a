"""Hooker et al., What do compressed deep neural networks forget?: its analyses on the cells of any study."""
