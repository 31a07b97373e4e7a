// What `compiler.py` builds for a model that is trained in bf16, with its layers as NETWORK.
#include "bf16_network.hpp"

#include "exports.hpp"

extern "C" __attribute__((visibility("default"))) const char* refusal() { return bf16_refusal(); }
