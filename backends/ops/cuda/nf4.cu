// NF4 weights on the device: into a matrix, and inside a product.
#include "backends/ops/cuda/device_math.cuh"

namespace dorabench::cuda {
namespace {

__constant__ float kNf4[16] = {DORABENCH_NF4_TABLE};

// A thread writes 8 elements out of 4 bytes; a block of the quantisation is a multiple of 8.
template <typename S>
__global__ void __launch_bounds__(256)
    nf4_kernel(const uint8_t* codes, const float* absmax, S* y, int64_t n, int64_t block) {
    __shared__ float table[16];
    if (threadIdx.x < 16) table[threadIdx.x] = kNf4[threadIdx.x];
    __syncthreads();
    const int64_t units = (n + 7) / 8;
    for (int64_t unit = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; unit < units;
         unit += int64_t(gridDim.x) * blockDim.x) {
        const int64_t first = unit * 8;
        const float scale = absmax[first / block];
        if (first + 8 <= n) {
            const Pack<uint8_t, 4> in = load<4>(codes + first / 2);
            constexpr int V = 16 / sizeof(S);
#pragma unroll
            for (int part = 0; part < 8 / V; ++part) {
                Pack<S, V> out;
#pragma unroll
                for (int i = 0; i < V; ++i) {
                    const int at = part * V + i;
                    out.v[i] = narrow<S>(table[nf4_code(in.v[at / 2], at % 2)] * scale);
                }
                store<V>(y + first + part * V, out);
            }
        } else {
            for (int64_t i = first; i < n; ++i)
                y[i] = narrow<S>(table[nf4_code(codes[i / 2], int(i % 2))] * scale);
        }
    }
}

// A warp makes column i of y for a tile of rows of x. A lane decodes 8 elements of row i of W at a time,
// rounds them to the weight's type and multiplies them with every row of the tile, so that W is read once a
// tile, in 4 bits, and never written. The order of the sum depends on `in` alone.
template <typename S>
__global__ void __launch_bounds__(geometry::kNf4Columns* geometry::kWarp) nf4_product_kernel(Nf4Product p) {
    constexpr int kRows = geometry::kNf4Rows;
    __shared__ float table[16];
    if (threadIdx.x < 16) table[threadIdx.x] = kNf4[threadIdx.x];
    __syncthreads();
    const int lane = threadIdx.x % geometry::kWarp;
    const int64_t i = int64_t(blockIdx.x) * geometry::kNf4Columns + threadIdx.x / geometry::kWarp;
    if (i >= p.out) return; // a whole warp
    const int64_t first = int64_t(blockIdx.y) * kRows;
    const int rows = int(p.rows - first < kRows ? p.rows - first : kRows);
    const S* x = static_cast<const S*>(p.x) + first * p.in;
    float sums[kRows] = {};
    for (int64_t j = lane * 8; j < p.in; j += geometry::kWarp * 8) {
        const int64_t at = i * p.in + j;
        const Pack<uint8_t, 4> bytes = load<4>(p.codes + at / 2);
        float w[8];
        nf4_eight(bytes.v, table, p.absmax[at / p.block], w, RoundTo<S>{});
#pragma unroll
        for (int t = 0; t < kRows; ++t) {
            if (t >= rows) break; // the same for the whole warp
            constexpr int V = 16 / sizeof(S);
            float own[8];
#pragma unroll
            for (int part = 0; part < 8 / V; ++part) {
                const Pack<S, V> in = load<V>(x + t * p.in + j + part * V);
#pragma unroll
                for (int k = 0; k < V; ++k) own[part * V + k] = wide(in.v[k]);
            }
            sums[t] = nf4_dot_eight(w, own, sums[t]);
        }
    }
    S* y = static_cast<S*>(p.y) + first * p.out + i;
#pragma unroll
    for (int t = 0; t < kRows; ++t) {
        if (t >= rows) break;
        const float sum = warp_sum(sums[t]);
        if (lane == 0) y[t * p.out] = narrow<S>(sum);
    }
}

} // namespace

void nf4_dequantise(Element e, const uint8_t* codes, const float* absmax, void* y, int64_t n, int64_t block,
                    Stream stream) {
    by_type(e, [&](auto type) {
        using S = typename decltype(type)::type;
        nf4_kernel<S><<<geometry::flat_blocks(geometry::ceil_div(n, 8), 256), 256, 0, stream>>>(
            codes, absmax, static_cast<S*>(y), n, block);
    });
}

void nf4_product(Element e, const Nf4Product& p, Stream stream) {
    const geometry::Grid grid = geometry::nf4_grid(p.rows, p.out);
    by_type(e, [&](auto type) {
        nf4_product_kernel<typename decltype(type)::type>
            <<<dim3(unsigned(grid.x), unsigned(grid.y)), geometry::kNf4Columns * geometry::kWarp, 0,
               stream>>>(p);
    });
}

} // namespace dorabench::cuda
