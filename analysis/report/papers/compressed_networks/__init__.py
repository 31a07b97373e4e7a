"""The analyses of Hooker et al., "What do compressed deep neural networks forget?", on the cells of any study."""
