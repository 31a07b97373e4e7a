// What `compiler.py` builds for a model that is trained in bf16, with its layers as NETWORK.
#include "bf16_network.hpp"

#include "exports.hpp"

// What the library multiplies by. This asks the system for the matrix unit.
extern "C" __attribute__((visibility("default"))) const char* unit() { return bf16_unit(); }
