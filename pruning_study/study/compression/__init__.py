"""The search for the smallest network that spares every class: chains of steps, and the choice among them."""
