// One block a row: RMSNorm both ways, the loss over a row of logits, and sums of squares. A row is read
// twice, the second time out of the caches.
#include "backends/ops/cuda/device_math.cuh"

namespace dorabench::cuda {
namespace {

template <typename S, int V>
__global__ void __launch_bounds__(512)
    rms_forward_kernel(const S* x, const S* weight, S* y, float* rstd, int64_t n, float eps) {
    x += int64_t(blockIdx.x) * n;
    y += int64_t(blockIdx.x) * n;
    float sum = 0;
    for (int64_t j = threadIdx.x * V; j < n; j += int64_t(blockDim.x) * V) {
        const Pack<S, V> in = load<V>(x + j);
#pragma unroll
        for (int i = 0; i < V; ++i) sum += wide(in.v[i]) * wide(in.v[i]);
    }
    const float root = rms_rstd(block_sum(sum), n, eps);
    if (rstd && threadIdx.x == 0) rstd[blockIdx.x] = root;
    for (int64_t j = threadIdx.x * V; j < n; j += int64_t(blockDim.x) * V) {
        const Pack<S, V> in = load<V>(x + j), w = load<V>(weight + j);
        Pack<S, V> out;
#pragma unroll
        for (int i = 0; i < V; ++i)
            out.v[i] = narrow<S>(rms_element(wide(in.v[i]), wide(w.v[i]), root, RoundTo<S>{}));
        store<V>(y + j, out);
    }
}

template <typename S, int V>
__global__ void __launch_bounds__(512)
    rms_backward_kernel(const S* dy, const S* x, const S* weight, const float* rstd, S* dx, int64_t n) {
    const int64_t start = int64_t(blockIdx.x) * n;
    dy += start, x += start, dx += start;
    float dot = 0;
    for (int64_t j = threadIdx.x * V; j < n; j += int64_t(blockDim.x) * V) {
        const Pack<S, V> up = load<V>(dy + j), in = load<V>(x + j), w = load<V>(weight + j);
#pragma unroll
        for (int i = 0; i < V; ++i) dot += wide(up.v[i]) * wide(w.v[i]) * wide(in.v[i]);
    }
    const float root = rstd[blockIdx.x], pull = rms_pull(block_sum(dot), root, n);
    for (int64_t j = threadIdx.x * V; j < n; j += int64_t(blockDim.x) * V) {
        const Pack<S, V> up = load<V>(dy + j), in = load<V>(x + j), w = load<V>(weight + j);
        Pack<S, V> out;
#pragma unroll
        for (int i = 0; i < V; ++i)
            out.v[i] = narrow<S>(rms_slope(wide(up.v[i]), wide(in.v[i]), wide(w.v[i]), root, pull));
        store<V>(dx + j, out);
    }
}

__device__ __forceinline__ OnlineSoftmax warp_merge(OnlineSoftmax x) {
    for (int step = 16; step > 0; step >>= 1) {
        OnlineSoftmax other;
        other.top = __shfl_xor_sync(0xffffffffu, x.top, step);
        other.sum = __shfl_xor_sync(0xffffffffu, x.sum, step);
        // the lower lane's part first, so that both lanes of a pair get the same bits
        x = threadIdx.x & step ? merge(other, x) : merge(x, other);
    }
    return x;
}

template <typename S, int V>
__global__ void __launch_bounds__(1024)
    cross_entropy_kernel(S* logits, const int64_t* labels, const float* scales, float* losses, int64_t n,
                         bool gradient) {
    __shared__ float tops[32], sums[32];
    logits += int64_t(blockIdx.x) * n;
    const int64_t label = labels[blockIdx.x];
    const float scale = scales ? scales[blockIdx.x] : 1.0f;
    const bool counts = label >= 0 && label < n; // the same for the whole block
    OnlineSoftmax row;
    float target = 0;
    if (counts) {
        target = wide(logits[label]); // before anyone overwrites it
        for (int64_t j = threadIdx.x * V; j < n; j += int64_t(blockDim.x) * V) {
            const Pack<S, V> in = load<V>(logits + j);
#pragma unroll
            for (int i = 0; i < V; ++i) push(row, wide(in.v[i]));
        }
        row = warp_merge(row);
        if (threadIdx.x % 32 == 0) tops[threadIdx.x / 32] = row.top, sums[threadIdx.x / 32] = row.sum;
        __syncthreads();
        OnlineSoftmax part;
        if (threadIdx.x % 32 < blockDim.x / 32)
            part.top = tops[threadIdx.x % 32], part.sum = sums[threadIdx.x % 32];
        row = warp_merge(part);
    }
    if (threadIdx.x == 0)
        losses[blockIdx.x] = counts ? cross_entropy_loss(row, target, scale) : label < 0 ? 0.0f : nanf("");
    if (!gradient) return;
    for (int64_t j = threadIdx.x * V; j < n; j += int64_t(blockDim.x) * V) {
        Pack<S, V> io = load<V>(logits + j);
#pragma unroll
        for (int i = 0; i < V; ++i)
            io.v[i] =
                narrow<S>(counts ? cross_entropy_slope(wide(io.v[i]), j + i == label, row, scale) : 0.0f);
        store<V>(logits + j, io);
    }
}

template <typename S, int V>
__global__ void __launch_bounds__(512) square_rows_kernel(const S* w, double* sums, int64_t n) {
    w += int64_t(blockIdx.x) * n;
    double sum = 0;
    for (int64_t j = threadIdx.x * V; j < n; j += int64_t(blockDim.x) * V) {
        const Pack<S, V> in = load<V>(w + j);
#pragma unroll
        for (int i = 0; i < V; ++i) sum += double(wide(in.v[i])) * double(wide(in.v[i]));
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

} // namespace

void rms_forward(Element e, const void* x, const void* weight, void* y, float* rstd, int64_t rows, int64_t n,
                 float eps, Stream stream) {
    const int width = geometry::vector_width(n, bytes_of(e), {x, weight, y});
    by_type_and_width(e, width, [&](auto type, auto v) {
        using S = typename decltype(type)::type;
        constexpr int V = decltype(v)::value;
        rms_forward_kernel<S, V><<<unsigned(rows), geometry::row_threads(n, V), 0, stream>>>(
            static_cast<const S*>(x), static_cast<const S*>(weight), static_cast<S*>(y), rstd, n, eps);
    });
}

void rms_backward(Element e, const void* dy, const void* x, const void* weight, const float* rstd, void* dx,
                  int64_t rows, int64_t n, Stream stream) {
    const int width = geometry::vector_width(n, bytes_of(e), {dy, x, weight, dx});
    by_type_and_width(e, width, [&](auto type, auto v) {
        using S = typename decltype(type)::type;
        constexpr int V = decltype(v)::value;
        rms_backward_kernel<S, V><<<unsigned(rows), geometry::row_threads(n, V), 0, stream>>>(
            static_cast<const S*>(dy), static_cast<const S*>(x), static_cast<const S*>(weight), rstd,
            static_cast<S*>(dx), n);
    });
}

void cross_entropy(Element e, void* logits, const int64_t* labels, const float* scale, float* losses,
                   int64_t rows, int64_t n, bool gradient, Stream stream) {
    const int width = geometry::vector_width(n, bytes_of(e), {logits});
    by_type_and_width(e, width, [&](auto type, auto v) {
        using S = typename decltype(type)::type;
        constexpr int V = decltype(v)::value;
        cross_entropy_kernel<S, V><<<unsigned(rows), geometry::row_threads(n, V, 1024), 0, stream>>>(
            static_cast<S*>(logits), labels, scale, losses, n, gradient);
    });
}

void square_rows(Element e, const void* w, double* sums, int64_t rows, int64_t in, Stream stream) {
    const int width = geometry::vector_width(in, bytes_of(e), {w});
    by_type_and_width(e, width, [&](auto type, auto v) {
        using S = typename decltype(type)::type;
        constexpr int V = decltype(v)::value;
        square_rows_kernel<S, V>
            <<<unsigned(rows), geometry::row_threads(in, V), 0, stream>>>(static_cast<const S*>(w), sums, in);
    });
}

} // namespace dorabench::cuda
