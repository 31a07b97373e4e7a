// Products of small matrices of bf16 numbers, summed in float32: by the CPU's matrix unit (AMX), else by its products
// of pairs (AVX512_BF16), else by plain ones, which are there to test what is built on this.
//
// A left tile has ROWS rows of DEPTH pairs. A right tile has DEPTH rows of a pair for each of WIDTH columns. Their
// product is ROWS rows of WIDTH sums.
#pragma once

#include <cstddef>

#include "bf16.hpp"

#ifdef __AMX_BF16__
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace native {

constexpr int ROWS = 16, DEPTH = 16;

// How many tiles hold so many rows.
constexpr int tiles_of(int rows) { return (rows + ROWS - 1) / ROWS; }

// Calls body(integral_constant<int, i>) for each i of [0, Count).
template <int Count, class Body>
inline void for_constants(Body&& body) {
    if constexpr (Count > 0) {
        for_constants<Count - 1>(body);
        body(std::integral_constant<int, Count - 1>{});
    }
}

#ifdef __AMX_BF16__

// Why this process cannot multiply such numbers at speed; null if it can. Asks the system for the matrix unit.
inline const char* bf16_refusal() {
    constexpr long ASK = 0x1023, TILES = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    return syscall(SYS_arch_prctl, ASK, TILES) == 0 ? nullptr
                                                    : "the system denies this process the CPU's matrix unit (AMX)";
}

// Sets the thread's matrix unit up.
class MatrixUnit {
   public:
    MatrixUnit() {
        struct alignas(64) {
            uint8_t palette = 1, start_row = 0, reserved[14]{};
            uint16_t row_bytes[16]{};
            uint8_t rows[16]{};
        } tiles;
        for (int tile = 0; tile < 8; ++tile) tiles.row_bytes[tile] = sizeof(Lanes), tiles.rows[tile] = ROWS;
        asm volatile("ldtilecfg %0" : : "m"(tiles));
    }
    ~MatrixUnit() { asm volatile("tilerelease"); }
    MatrixUnit(const MatrixUnit&) = delete;
};

// Lefts x Rights tiles of sums, in the tile registers: no two of these can be in use at once.
template <int Lefts, int Rights>
class TileSums {
    static constexpr int SUMS = Lefts * Rights, FREE = 8 - SUMS - Lefts;
    static_assert(FREE > 0);

   public:
    void clear() {
        for_constants<SUMS>([](auto sum) { asm volatile("tilezero %%tmm%c0" : : "i"(sum.value)); });
    }

    // Sums of the first left tile lie one behind the other, and those of the next `pitch` tiles further on.
    void load(const Lanes (*from)[ROWS], int pitch) {
        for_constants<SUMS>(
            [&](auto sum) { load_tile<sum>(from[sum / Rights * pitch + sum % Rights], sizeof(Lanes)); });
    }

    void store(Lanes (*to)[ROWS], int pitch) const {
        for_constants<SUMS>([&](auto sum) {
            Lanes* tile = to[sum / Rights * pitch + sum % Rights];
            asm volatile("tilestored %%tmm%c2, (%0,%1,1)"
                         :
                         : "r"(tile), "r"(sizeof(Lanes)), "i"(sum.value)
                         : "memory");
        });
    }

    // Adds the products of all left tiles left(i), whose rows are `pitch` bytes apart, and all right tiles right(j).
    template <class Left, class Right>
    void add(Left&& left, std::size_t pitch, Right&& right) {
        for_constants<Lefts>([&](auto i) { load_tile<SUMS + i>(left(i), pitch); });
        for_constants<Rights>([&](auto j) {
            constexpr int TILE = SUMS + Lefts + j % FREE;
            load_tile<TILE>(right(j), sizeof(Halves));
            for_constants<Lefts>([&](auto i) {
                constexpr int SUM = i * Rights + j, LEFT = SUMS + i;
                asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(SUM), "i"(LEFT), "i"(TILE));
            });
        });
    }

   private:
    template <int Tile>
    static void load_tile(const void* from, std::size_t pitch) {
        asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(pitch), "i"(Tile) : "memory");
    }
};

#else

class MatrixUnit {
   public:
    MatrixUnit() {}
    ~MatrixUnit() {}
};

#ifdef __AVX512BF16__
inline const char* bf16_refusal() { return nullptr; }

inline Lanes add_products(Lanes sums, uint32_t left, Halves right) {
    return (Lanes)_mm512_dpbf16_ps((__m512)sums, (__m512bh)_mm512_set1_epi32(static_cast<int>(left)), (__m512bh)right);
}
#else
inline const char* bf16_refusal() { return "the compiler does not use the CPU's instructions for bf16"; }

inline Lanes add_products(Lanes sums, uint32_t left, Halves right) {
    const auto pair = (Halves)(LaneBits{} + left);
    return sums + first_of(pair) * first_of(right) + second_of(pair) * second_of(right);
}
#endif

template <int Lefts, int Rights>
class TileSums {
   public:
    void clear() { std::memset(sums_, 0, sizeof sums_); }

    void load(const Lanes (*from)[ROWS], int pitch) {
        for (int left = 0; left < Lefts; ++left) std::memcpy(sums_[left], from[left * pitch], sizeof sums_[left]);
    }

    void store(Lanes (*to)[ROWS], int pitch) const {
        for (int left = 0; left < Lefts; ++left) std::memcpy(to[left * pitch], sums_[left], sizeof sums_[left]);
    }

    template <class Left, class Right>
    void add(Left&& left, std::size_t pitch, Right&& right) {
        for_constants<Lefts>([&](auto i) {
            for_constants<Rights>([&](auto j) {
                add_tile(reinterpret_cast<const char*>(left(i)), pitch, right(j), sums_[i][j]);
            });
        });
    }

   private:
    Lanes sums_[Lefts][Rights][ROWS];

    static void add_tile(const char* left, std::size_t pitch, const Halves* right, Lanes* sums) {
        constexpr int AT_ONCE = REGISTERS > 16 ? ROWS : ROWS / 2;
        typedef uint32_t Pair __attribute__((may_alias));
        for (int first = 0; first < ROWS; first += AT_ONCE) {
            Lanes block[AT_ONCE];
#pragma GCC unroll 16
            for (int row = 0; row < AT_ONCE; ++row) block[row] = sums[first + row];
            for (int k = 0; k < DEPTH; ++k)
#pragma GCC unroll 16
                for (int row = 0; row < AT_ONCE; ++row)
                    block[row] = add_products(
                        block[row], reinterpret_cast<const Pair*>(left + (first + row) * pitch)[k], right[k]);
#pragma GCC unroll 16
            for (int row = 0; row < AT_ONCE; ++row) sums[first + row] = block[row];
        }
    }
};

#endif

}  // namespace native
