#pragma once
// How the CUDA kernels divide their work: plain host arithmetic, without CUDA, so that it is tested on any
// machine. Splits that change the order of a sum depend on the shape alone, never on the device: the same
// input gives the same bits on every GPU.
#include <algorithm>
#include <cstdint>
#include <initializer_list>

namespace dorabench::geometry {

inline constexpr int kMaxGridY = 65535;
inline constexpr int kVectorBytes = 16;
inline constexpr int kWarp = 32;
inline constexpr int kTileLanes = 32, kTileRows = 8; // threads of a column tile: 32 across, 8 down

inline int64_t ceil_div(int64_t a, int64_t b) { return b <= 0 ? 0 : (a + b - 1) / b; }

// Elements of element_bytes that one access moves: 16 bytes' worth where every pointer and every row stride
// (in elements; of the rows' starts) is aligned and the row divides; otherwise 1. A zero stride or one row is
// aligned anyway.
inline int vector_width(int64_t row_elements, int element_bytes, std::initializer_list<const void*> pointers,
                        std::initializer_list<int64_t> strides = {}) {
    const int width = kVectorBytes / element_bytes;
    if (width <= 1 || row_elements % width != 0) return 1;
    for (const void* pointer : pointers)
        if (pointer && reinterpret_cast<uintptr_t>(pointer) % kVectorBytes != 0) return 1;
    for (int64_t stride : strides)
        if (stride % width != 0) return 1;
    return width;
}

// Threads of a block that works on one row of n elements, `width` at a time: a multiple of a warp, 32 …
// limit.
inline int row_threads(int64_t n, int width, int limit = 512) {
    const int64_t wanted = ceil_div(ceil_div(n, width), kWarp) * kWarp;
    return static_cast<int>(std::clamp<int64_t>(wanted, kWarp, limit));
}

// A grid over [rows, columns]: x counts tiles of columns, y groups of rows (the kernel strides over the
// rest).
struct Grid {
    int64_t x = 0;
    int y = 0;
};
inline Grid tile_grid(int64_t rows, int64_t columns, int width, int64_t wanted_blocks = 132 * 16) {
    Grid grid;
    grid.x = ceil_div(columns, int64_t(kTileLanes) * width);
    const int64_t most = ceil_div(rows, kTileRows);
    const int64_t wanted = std::max<int64_t>(1, ceil_div(wanted_blocks, std::max<int64_t>(grid.x, 1)));
    grid.y = static_cast<int>(std::min<int64_t>({most, wanted, kMaxGridY}));
    return grid;
}

// Column sums in two stages: `parts` groups of `rows_each` rows; partial sums [parts, columns] are added in
// order. About 2048 blocks where the shape allows, at least kTileRows * 4 rows a part.
struct ColumnSum {
    int64_t rows_each = 0;
    int parts = 0;
};
inline ColumnSum column_sum(int64_t rows, int64_t columns, int width) {
    ColumnSum split;
    if (rows <= 0) return split;
    const int64_t tiles = std::max<int64_t>(1, ceil_div(columns, int64_t(kTileLanes) * width));
    const int64_t least = kTileRows * 4, wanted = std::clamp<int64_t>(2048 / tiles, 1, 1024);
    split.rows_each = std::max(least, ceil_div(ceil_div(rows, wanted), kTileRows) * kTileRows);
    split.parts = static_cast<int>(ceil_div(rows, split.rows_each));
    return split;
}

// Blocks of a grid-stride loop over n items with `threads` a block.
inline int flat_blocks(int64_t n, int threads, int64_t most = 132 * 16) {
    return static_cast<int>(std::clamp<int64_t>(ceil_div(n, threads), 1, most));
}

// NF4 inside a product: a block of kNf4Columns warps, one a column of y, over kNf4Rows rows of x. Each tile
// of rows reads the codes again, so that many rows are faster with the weight decoded once and cuBLAS.
inline constexpr int kNf4Columns = 8, kNf4Rows = 8, kNf4MostRows = 32;
inline bool nf4_fused(int64_t rows, int64_t in, int64_t block) {
    return rows > 0 && rows <= kNf4MostRows && in % 8 == 0 && block % 8 == 0;
}
inline Grid nf4_grid(int64_t rows, int64_t out) {
    return {ceil_div(out, kNf4Columns), static_cast<int>(ceil_div(rows, kNf4Rows))};
}

} // namespace dorabench::geometry
