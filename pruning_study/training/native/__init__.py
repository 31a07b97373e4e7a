"""The native engine: training steps of a small CNN, compiled from C++ for the model and the machine.

`stack` reads the layers of a model, `compiler` compiles the C++ headers in this folder into a library for these layers,
and `engine` calls the library. On one core, the engine trains LeNet5 seven times as fast as PyTorch
(`benchmarks/README.md`).
"""
