#pragma once
// Loops over rows of float32 that several operators share, compiled for several instruction sets.
#include <cstdint>

namespace dorabench {

float row_maximum(const float* x, int64_t n); // -inf for an empty row
// Index of the largest element, the first of equals; NaN is never chosen unless nothing else is there.
int64_t row_argmax(const float* x, int64_t n);
float row_exponentials(float* x, float top, int64_t n); // x <- e^(x - top); returns the sum
double row_log_sum_exp(const float* x, int64_t n);      // x is left alone
void row_multiply(float* x, float factor, int64_t n);

} // namespace dorabench
