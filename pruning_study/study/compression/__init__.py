"""The search for the smallest network in which no class loses too much: chains of steps, and the choice among them."""
