#pragma once
// The kernels' launchers over raw device pointers: what glue.cpp (torch headers) and the .cu files (none)
// agree on. Every matrix is row-major; `stride` is in elements between rows, and a row is dense. Sums are
// float32 (float64 for norms) in an order that depends on the shape alone. Launchers queue on `stream` and do
// not wait.
#include "backends/ops/compose_math.h"
#include <cstdint>

struct CUstream_st; // cudaStream_t is a pointer to it

namespace dorabench::cuda {

using Stream = CUstream_st*;
enum class Element { f32, bf16, f16 };
struct Matrix {
    const void* data = nullptr;
    int64_t stride = 0;
};

// z [rows, out] := gain z + bias; gain, bias float32 [out] or null
void compose(Element e, void* z, const float* gain, const float* bias, int64_t rows, int64_t out,
             Stream stream);

// sum[i] = sum_t dy (y - bias); dz = gain dy where dz is not null. partial: float32 scratch [parts, out]
// (cuda_geometry.h: column_sum); bias may be null.
struct ScaleReduce {
    const void *dy, *y;
    void* dz;
    const float *gain, *bias;
    float *partial, *sum;
    int64_t rows, out, rows_each;
    int parts, width; // width: elements an access (cuda_geometry.h: vector_width)
};
void scale_and_reduce(Element e, const ScaleReduce& p, Stream stream);

// dm[i] = sum_t dy[t, i] z[t, i] / max(norm[i], floor), z = x W^T + s h B^T, for the columns with |gain| <=
// threshold alone (the others are left as they are). hidden and up null: no low-rank part.
struct WeakMagnitudes {
    Element e;
    Matrix dy, x, weight, hidden, up;
    const float *gain, *norm;
    float* dm;
    int64_t rows, in, out, rank;
    float scaling, threshold, floor;
};
void weak_magnitudes(const WeakMagnitudes& p, Stream stream);

// One block a row of n; rstd float32 [rows], may be null in the forward pass.
void rms_forward(Element e, const void* x, const void* weight, void* y, float* rstd, int64_t rows, int64_t n,
                 float eps, Stream stream);
void rms_backward(Element e, const void* dy, const void* x, const void* weight, const float* rstd, void* dx,
                  int64_t rows, int64_t n, Stream stream);

// x [rows, heads, 2 half] -> y dense; cos, sin float32 [places, half]; sine times direction
struct Rope {
    Matrix x;
    void* y;
    const float *cos, *sin;
    const int64_t* positions;
    int64_t rows, heads, half, places;
    float direction;
};
void rope(Element e, const Rope& p, Stream stream);

void swiglu_forward(Element e, Matrix gate, Matrix up, void* y, int64_t rows, int64_t n, Stream stream);
void swiglu_backward(Element e, Matrix dy, Matrix gate, Matrix up, void* dgate, void* dup, int64_t rows,
                     int64_t n, Stream stream);

// One block a row of logits [rows, n]: losses[row] = -scale log softmax[label]; with `gradient` the row
// becomes its gradient. label < 0: no loss, a zero gradient; label >= n: the loss is NaN (no memory is read
// for it). scale may be null (1).
void cross_entropy(Element e, void* logits, const int64_t* labels, const float* scale, float* losses,
                   int64_t rows, int64_t n, bool gradient, Stream stream);

// x [n] := D x, the mask of dropout.h
void dropout(Element e, void* x, int64_t n, uint64_t threshold, float scale, PhiloxStream key, Stream stream);

// sums[i] = sum_j w[i, j]^2, float64
void square_rows(Element e, const void* w, double* sums, int64_t rows, int64_t in, Stream stream);

// norm[i] = c_i of dora_norm.h; a row whose terms cancel is taken from W + s B A here and now
struct DoraNorm {
    const void* weight; // [out, in], dense
    const double* w2;   // [out]
    const float *cross, *down, *up, *gram;
    float* norm;
    int64_t out, in, rank;
    double scaling;
};
void dora_norm(Element e, const DoraNorm& p, Stream stream);

// y [n] = table[code] absmax[block of `block` elements]; e is y's
void nf4_dequantise(Element e, const uint8_t* codes, const float* absmax, void* y, int64_t n, int64_t block,
                    Stream stream);

// y [rows, out] = x W^T, W [out, in] decoded on the way: x and y dense and aligned to 16 bytes, in and block
// multiples of 8 (cuda_geometry.h: nf4_fused); e is x's, y's and the decoded weight's
struct Nf4Product {
    const void* x;
    const uint8_t* codes;
    const float* absmax;
    void* y;
    int64_t rows, in, out, block;
};
void nf4_product(Element e, const Nf4Product& p, Stream stream);

} // namespace dorabench::cuda
