// Element-wise passes: RoPE and SwiGLU both ways, dropout by counter, NF4 to floating point; and DoRA's row
// norms, a warp a row.
#include "backends/ops/cuda/device_math.cuh"

namespace dorabench::cuda {
namespace {

// A block a token; a thread turns V pairs (i, i + half) of a head.
template <typename S, int V>
__global__ void __launch_bounds__(256) rope_kernel(Rope p) {
    const int64_t row = blockIdx.x, position = p.positions[row];
    if (position < 0 || position >= p.places) return; // the caller has checked; never read outside the table
    const S* x = static_cast<const S*>(p.x.data) + row * p.x.stride;
    S* y = static_cast<S*>(p.y) + row * p.heads * 2 * p.half;
    const float *cos = p.cos + position * p.half, *sin = p.sin + position * p.half;
    const RoundTo<S> round{};
    for (int64_t at = int64_t(threadIdx.x) * V; at < p.heads * p.half; at += int64_t(blockDim.x) * V) {
        const int64_t head = at / p.half, i = at - head * p.half, first = head * 2 * p.half + i;
        Pack<S, V> a = load<V>(x + first), b = load<V>(x + first + p.half);
#pragma unroll
        for (int k = 0; k < V; ++k) {
            float one = wide(a.v[k]), two = wide(b.v[k]);
            rope_pair(one, two, round(cos[i + k]), p.direction * round(sin[i + k]), round);
            a.v[k] = narrow<S>(one);
            b.v[k] = narrow<S>(two);
        }
        store<V>(y + first, a);
        store<V>(y + first + p.half, b);
    }
}

template <typename S, int V>
__global__ void __launch_bounds__(256) swiglu_kernel(Matrix gate, Matrix up, S* y, int64_t rows, int64_t n) {
    const int64_t column = (int64_t(blockIdx.x) * 32 + threadIdx.x) * V;
    if (column >= n) return;
    const S *a = static_cast<const S*>(gate.data) + column, *b = static_cast<const S*>(up.data) + column;
    for (int64_t row = int64_t(blockIdx.y) * 8 + threadIdx.y; row < rows; row += int64_t(gridDim.y) * 8) {
        const Pack<S, V> g = load<V>(a + row * gate.stride), u = load<V>(b + row * up.stride);
        Pack<S, V> out;
#pragma unroll
        for (int i = 0; i < V; ++i)
            out.v[i] = narrow<S>(swiglu_element(wide(g.v[i]), wide(u.v[i]), RoundTo<S>{}));
        store<V>(y + row * n + column, out);
    }
}

template <typename S, int V>
__global__ void __launch_bounds__(256)
    swiglu_backward_kernel(Matrix dy, Matrix gate, Matrix up, S* dgate, S* dup, int64_t rows, int64_t n) {
    const int64_t column = (int64_t(blockIdx.x) * 32 + threadIdx.x) * V;
    if (column >= n) return;
    const S *d = static_cast<const S*>(dy.data) + column, *a = static_cast<const S*>(gate.data) + column,
            *b = static_cast<const S*>(up.data) + column;
    for (int64_t row = int64_t(blockIdx.y) * 8 + threadIdx.y; row < rows; row += int64_t(gridDim.y) * 8) {
        const Pack<S, V> o = load<V>(d + row * dy.stride), g = load<V>(a + row * gate.stride),
                         u = load<V>(b + row * up.stride);
        Pack<S, V> to_gate, to_up;
#pragma unroll
        for (int i = 0; i < V; ++i) {
            float dg, du;
            swiglu_slopes(wide(o.v[i]), wide(g.v[i]), wide(u.v[i]), dg, du);
            to_gate.v[i] = narrow<S>(dg);
            to_up.v[i] = narrow<S>(du);
        }
        store<V>(dgate + row * n + column, to_gate);
        store<V>(dup + row * n + column, to_up);
    }
}

// A thread takes V elements: V / 4 Philox blocks. Whole units go 16 bytes at a time where x is aligned.
template <typename S, int V>
__global__ void __launch_bounds__(256)
    dropout_kernel(S* x, int64_t n, uint64_t threshold, float scale, PhiloxStream key, bool aligned) {
    const int64_t units = (n + V - 1) / V;
    for (int64_t unit = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; unit < units;
         unit += int64_t(gridDim.x) * blockDim.x) {
        uint32_t words[V];
#pragma unroll
        for (int block = 0; block < V / 4; ++block) {
            const uint64_t counter = uint64_t(unit) * (V / 4) + block;
            uint32_t c[4] = {uint32_t(counter), uint32_t(counter >> 32), key.site, key.micro_batch};
            philox4x32_10(c, key.key0, key.key1);
#pragma unroll
            for (int w = 0; w < 4; ++w) words[4 * block + w] = c[w];
        }
        S* at = x + unit * V;
        if (aligned && (unit + 1) * V <= n) {
            Pack<S, V> io = load<V>(at);
#pragma unroll
            for (int i = 0; i < V; ++i)
                io.v[i] = narrow<S>(dropout_element<float>(wide(io.v[i]), words[i], threshold, scale));
            store<V>(at, io);
        } else {
#pragma unroll
            for (int i = 0; i < V; ++i)
                if (unit * V + i < n)
                    at[i] = narrow<S>(dropout_element<float>(wide(at[i]), words[i], threshold, scale));
        }
    }
}

template <typename S>
__global__ void __launch_bounds__(128) dora_norm_kernel(DoraNorm p) {
    const int lane = threadIdx.x % 32;
    const int64_t row = int64_t(blockIdx.x) * 4 + threadIdx.x / 32;
    if (row >= p.out) return; // a whole warp
    const float *u = p.cross + row * p.rank, *b = p.up + row * p.rank;
    NormParts parts;
    for (int64_t k = lane; k < p.rank; k += 32) {
        float against = 0;
        for (int64_t j = 0; j < p.rank; ++j) against += b[j] * p.gram[j * p.rank + k];
        norm_push(parts, u[k], b[k], against);
    }
    parts.linear = warp_sum(parts.linear);
    parts.square = warp_sum(parts.square);
    bool weak = false;
    double square = norm_square(p.w2[row], parts, p.scaling, weak);
    if (weak) { // the same for the whole warp
        const S* w = static_cast<const S*>(p.weight) + row * p.in;
        double sum = 0;
        for (int64_t j = lane; j < p.in; j += 32) {
            double low = 0;
            for (int64_t k = 0; k < p.rank; ++k) low += double(b[k]) * double(p.down[k * p.in + j]);
            const double v = double(wide(w[j])) + p.scaling * low;
            sum += v * v;
        }
        square = warp_sum(sum);
    }
    if (lane == 0) p.norm[row] = static_cast<float>(sqrt(square));
}

} // namespace

void rope(Element e, const Rope& p, Stream stream) {
    const int width = geometry::vector_width(p.half, bytes_of(e), {p.x.data, p.y}, {p.x.stride});
    by_type_and_width(e, width, [&](auto type, auto v) {
        using S = typename decltype(type)::type;
        constexpr int V = decltype(v)::value;
        rope_kernel<S, V>
            <<<unsigned(p.rows), geometry::row_threads(p.heads * p.half, V, 256), 0, stream>>>(p);
    });
}

void swiglu_forward(Element e, Matrix gate, Matrix up, void* y, int64_t rows, int64_t n, Stream stream) {
    const int width =
        geometry::vector_width(n, bytes_of(e), {gate.data, up.data, y}, {gate.stride, up.stride});
    by_type_and_width(e, width, [&](auto type, auto v) {
        using S = typename decltype(type)::type;
        constexpr int V = decltype(v)::value;
        const geometry::Grid grid = geometry::tile_grid(rows, n, V);
        swiglu_kernel<S, V><<<dim3(unsigned(grid.x), unsigned(grid.y)), dim3(32, 8), 0, stream>>>(
            gate, up, static_cast<S*>(y), rows, n);
    });
}

void swiglu_backward(Element e, Matrix dy, Matrix gate, Matrix up, void* dgate, void* dup, int64_t rows,
                     int64_t n, Stream stream) {
    const int width = geometry::vector_width(n, bytes_of(e), {dy.data, gate.data, up.data, dgate, dup},
                                             {dy.stride, gate.stride, up.stride});
    by_type_and_width(e, width, [&](auto type, auto v) {
        using S = typename decltype(type)::type;
        constexpr int V = decltype(v)::value;
        const geometry::Grid grid = geometry::tile_grid(rows, n, V);
        swiglu_backward_kernel<S, V><<<dim3(unsigned(grid.x), unsigned(grid.y)), dim3(32, 8), 0, stream>>>(
            dy, gate, up, static_cast<S*>(dgate), static_cast<S*>(dup), rows, n);
    });
}

void dropout(Element e, void* x, int64_t n, uint64_t threshold, float scale, PhiloxStream key,
             Stream stream) {
    by_type(e, [&](auto type) {
        using S = typename decltype(type)::type;
        constexpr int V = geometry::kVectorBytes / int(sizeof(S));
        const bool aligned = reinterpret_cast<uintptr_t>(x) % geometry::kVectorBytes == 0;
        dropout_kernel<S, V><<<geometry::flat_blocks(geometry::ceil_div(n, V), 256), 256, 0, stream>>>(
            static_cast<S*>(x), n, threshold, scale, key, aligned);
    });
}

void dora_norm(Element e, const DoraNorm& p, Stream stream) {
    by_type(e, [&](auto type) {
        dora_norm_kernel<typename decltype(type)::type>
            <<<unsigned(geometry::ceil_div(p.out, 4)), 128, 0, stream>>>(p);
    });
}

} // namespace dorabench::cuda
