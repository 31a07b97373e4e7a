"""The native engine: the training step of a small CNN, compiled from C++ for the model and the machine.

`stack` reads the layers of a model, `compiler` compiles the C++ headers in this folder into a library for these layers,
and `engine` calls the library. It trains LeNet5 on one core seven times as fast as PyTorch does (`benchmarks/README.md`).
"""
