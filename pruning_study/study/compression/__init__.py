"""The search of the smallest network that spares every class: chains of steps, and the choice between them."""
