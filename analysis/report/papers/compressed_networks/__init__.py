"""What do compressed deep neural networks forget? Hooker et al., on the cells of any study."""
