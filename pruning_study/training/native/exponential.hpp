// Exponential and logarithm, because those of the system's library differ in the last digits between systems.
//
// Reductions and polynomials are those of Cephes (S. L. Moshier); errors are about one unit in the last digit.
#pragma once

#include "lanes.hpp"

namespace native {

// e^x for x <= 0; 0 below -86.
inline Lanes exponential(Lanes x) {
    // x = n ln 2 + r; adding 1.5 * 2^23 leaves n in the last bits.
    const Lanes shifted = fma(x, broadcast(1.44269504f), broadcast(12582912.0f)), n = shifted - 12582912.0f;
    const Lanes r = fma(n, broadcast(2.12194440e-4f), fma(n, broadcast(-0.693359375f), x));
    Lanes sum = broadcast(1.9875691500e-4f);
    for (const float factor :
         {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f})
        sum = fma(sum, r, broadcast(factor));
    sum = fma(sum, r * r, r) + 1.0f;
    const Lanes power = (Lanes)((LaneIndex)sum + ((LaneIndex)shifted << 23));  // times 2^n
    return x < -86.0f ? Lanes{} : (x == x ? power : x);
}

// ln x for finite x >= 1.
inline Lanes logarithm(Lanes x) {
    // x = m 2^n with m from sqrt(1/2) to sqrt(2)
    const LaneIndex bits = (LaneIndex)x, exponent = (bits - 0x3f3504f3) >> 23;
    const Lanes n = __builtin_convertvector(exponent, Lanes), m = (Lanes)(bits - (exponent << 23)), f = m - 1.0f;
    Lanes sum = broadcast(7.0376836292e-2f);
    for (const float factor : {-1.1514610310e-1f, 1.1676998740e-1f, -1.2420140846e-1f, 1.4249322787e-1f,
                               -1.6668057665e-1f, 2.0000714765e-1f, -2.4999993993e-1f, 3.3333331174e-1f})
        sum = fma(sum, f, broadcast(factor));
    const Lanes square = f * f;
    sum = fma(n, broadcast(-2.12194440e-4f), sum * (f * square));
    sum = f + fma(square, broadcast(-0.5f), sum);
    return x == x ? fma(n, broadcast(0.693359375f), sum) : x;
}

}  // namespace native
