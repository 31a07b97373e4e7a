"""The native engine: a small CNN's training step, compiled for the model and the machine.

`stack` reads which layers a model has, `compiler` makes a library of them out of the C++ headers that lie here,
`engine` calls it.
"""
