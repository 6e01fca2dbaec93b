// Passes over [tokens, out] with one number a column: y = g z + b in place, dz = g dy with dm's column sums,
// and the magnitude gradients of the columns whose gain is too small to be undone. Bound by memory: each
// reads and writes its matrices once; a block is 32 x 8 threads, so that a column's gain is loaded once for
// many rows.
#include "backends/ops/cuda/device_math.cuh"

namespace dorabench::cuda {
namespace {

constexpr int kRowsInFlight = 4; // independent loads a thread has under way

template <typename S, int V>
__global__ void __launch_bounds__(256)
    compose_kernel(S* z, const float* gain, const float* bias, int64_t rows, int64_t out) {
    const int64_t column = (int64_t(blockIdx.x) * 32 + threadIdx.x) * V;
    if (column >= out) return;
    float g[V], b[V];
#pragma unroll
    for (int i = 0; i < V; ++i) {
        g[i] = gain ? gain[column + i] : 1.0f;
        b[i] = bias ? bias[column + i] : 0.0f;
    }
    const int64_t step = int64_t(gridDim.y) * 8;
    for (int64_t row = int64_t(blockIdx.y) * 8 + threadIdx.y; row < rows; row += kRowsInFlight * step) {
        Pack<S, V> in[kRowsInFlight];
#pragma unroll
        for (int u = 0; u < kRowsInFlight; ++u)
            if (row + u * step < rows) in[u] = load<V>(z + (row + u * step) * out + column);
#pragma unroll
        for (int u = 0; u < kRowsInFlight; ++u) {
            if (row + u * step >= rows) break;
#pragma unroll
            for (int i = 0; i < V; ++i)
                in[u].v[i] = narrow<S>(compose_element<float>(g[i], wide(in[u].v[i]), b[i]));
            store<V>(z + (row + u * step) * out + column, in[u]);
        }
    }
}

// First stage: block (x, part) sums rows [part rows_each, …) of its 32 V columns.
template <typename S, int V>
__global__ void __launch_bounds__(256) scale_reduce_kernel(ScaleReduce p) {
    __shared__ float sums[8][32 * V];
    const int64_t column = (int64_t(blockIdx.x) * 32 + threadIdx.x) * V;
    const S *dy = static_cast<const S*>(p.dy), *y = static_cast<const S*>(p.y);
    S* dz = static_cast<S*>(p.dz);
    float g[V], b[V], sum[V];
#pragma unroll
    for (int i = 0; i < V; ++i) {
        const bool inside = column + i < p.out;
        g[i] = inside && p.gain ? p.gain[column + i] : 1.0f;
        b[i] = inside && p.bias ? p.bias[column + i] : 0.0f;
        sum[i] = 0;
    }
    const int64_t first = int64_t(blockIdx.y) * p.rows_each;
    const int64_t last = first + p.rows_each < p.rows ? first + p.rows_each : p.rows;
    if (column < p.out) {
#pragma unroll 2
        for (int64_t row = first + threadIdx.y; row < last; row += 8) {
            const int64_t at = row * p.out + column;
            const Pack<S, V> up = load<V>(dy + at), value = load<V>(y + at);
            Pack<S, V> scaled;
#pragma unroll
            for (int i = 0; i < V; ++i) {
                const float d = wide(up.v[i]);
                sum[i] += magnitude_term<float>(d, wide(value.v[i]), b[i]);
                scaled.v[i] = narrow<S>(g[i] * d);
            }
            if (dz) store<V>(dz + at, scaled);
        }
    }
#pragma unroll
    for (int i = 0; i < V; ++i) sums[threadIdx.y][i * 32 + threadIdx.x] = sum[i];
    __syncthreads();
    // 256 threads for 32 V columns of 8 partial sums
    for (int c = threadIdx.y * 32 + threadIdx.x; c < 32 * V; c += 256) {
        float total = 0;
        for (int r = 0; r < 8; ++r) total += sums[r][c];
        const int64_t to = (int64_t(blockIdx.x) * 32 + c % 32) * V + c / 32;
        if (to < p.out) p.partial[int64_t(blockIdx.y) * p.out + to] = total;
    }
}

__global__ void add_parts_kernel(const float* partial, float* sum, int parts, int64_t out) {
    const int64_t column = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
    if (column >= out) return;
    double total = 0;
    for (int part = 0; part < parts; ++part) total += partial[int64_t(part) * out + column];
    sum[column] = static_cast<float>(total);
}

// A block a column; nearly all leave at once. sum_t dy_t z_t = (sum_t dy_t x_t) W_i + s (sum_t dy_t h_t) B_i.
template <typename S>
__global__ void __launch_bounds__(256) weak_kernel(WeakMagnitudes p) {
    const int64_t column = blockIdx.x;
    if (!(fabsf(p.gain[column]) <= p.threshold)) return;
    const S* dy = static_cast<const S*>(p.dy.data) + column;
    auto weighted = [&](const Matrix& m, const Matrix& row, int64_t width) {
        const S *from = static_cast<const S*>(m.data),
                *against = static_cast<const S*>(row.data) + column * row.stride;
        double total = 0;
        for (int64_t j = threadIdx.x; j < width; j += blockDim.x) {
            double sum = 0;
            for (int64_t t = 0; t < p.rows; ++t)
                sum += double(wide(dy[t * p.dy.stride])) * double(wide(from[t * m.stride + j]));
            total += sum * double(wide(against[j]));
        }
        return total;
    };
    double total = weighted(p.x, p.weight, p.in);
    if (p.up.data) total += double(p.scaling) * weighted(p.hidden, p.up, p.rank);
    total = block_sum(total);
    const float norm = p.norm[column] > p.floor ? p.norm[column] : p.floor;
    if (threadIdx.x == 0) p.dm[column] = static_cast<float>(total / double(norm));
}

} // namespace

void compose(Element e, void* z, const float* gain, const float* bias, int64_t rows, int64_t out,
             Stream stream) {
    const int width = geometry::vector_width(out, bytes_of(e), {z});
    by_type_and_width(e, width, [&](auto type, auto v) {
        using S = typename decltype(type)::type;
        constexpr int V = decltype(v)::value;
        const geometry::Grid grid = geometry::tile_grid(rows, out, V);
        compose_kernel<S, V><<<dim3(unsigned(grid.x), unsigned(grid.y)), dim3(32, 8), 0, stream>>>(
            static_cast<S*>(z), gain, bias, rows, out);
    });
}

void scale_and_reduce(Element e, const ScaleReduce& p, Stream stream) {
    const auto tiles = unsigned(geometry::ceil_div(p.out, int64_t(geometry::kTileLanes) * p.width));
    by_type_and_width(e, p.width, [&](auto type, auto v) {
        using S = typename decltype(type)::type;
        scale_reduce_kernel<S, decltype(v)::value>
            <<<dim3(tiles, unsigned(p.parts)), dim3(32, 8), 0, stream>>>(p);
    });
    add_parts_kernel<<<unsigned(geometry::ceil_div(p.out, 256)), 256, 0, stream>>>(p.partial, p.sum, p.parts,
                                                                                   p.out);
}

void weak_magnitudes(const WeakMagnitudes& p, Stream stream) {
    by_type(p.e, [&](auto type) {
        weak_kernel<typename decltype(type)::type><<<unsigned(p.out), 256, 0, stream>>>(p);
    });
}

} // namespace dorabench::cuda
