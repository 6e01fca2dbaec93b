// Training steps of LoRA and DoRA on a LLaMA-shaped model with random weights, and the kernels one by one;
// JSON lines.
//   gpu_bench [--device cuda] [--shape llama-7b|llama-7b-slice|tiny] [--layers N] [--tokens 4096] [--rank 32]
//             [--steps 5] [--dtype bfloat16|float32]
// The methods share one base and take turns step by step, so that a ratio is of one moment of the machine;
// times are by device events around a step. MFU: floating-point operations of the step, from its shapes, over
// time times the datasheet's dense 16-bit rate of an H100 (989e12); `of_measured`: over the rate of a large
// product on this device. Exit code 77: there is no GPU.
#include "backends/ops/compose.h"
#include "backends/ops/cuda_kernels.h"
#include "backends/ops/device.h"
#include "backends/ops/dora_norm.h"
#include "backends/ops/rms_norm.h"
#include "backends/ops/swiglu.h"
#include "harness/base/error.h"
#include "tests/cases/small_llama.h"
#include <ATen/ops/mm.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <algorithm>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iostream>
#include <map>

using namespace dorabench;

namespace {

constexpr double kDatasheetRate = 989e12; // H100 SXM, dense bfloat16
struct Options {
    std::string device = "cuda", shape = "llama-7b", dtype = "bfloat16";
    int64_t layers = 0, tokens = 4096, rank = 32, steps = 5;
};

// Seconds of one call, by events of the device's stream (CPU: the clock).
class Timer {
public:
    explicit Timer(at::Device device) : device_(device) {}
    double operator()(const std::function<void()>& f) const {
        if (device_.is_cpu()) {
            const auto start = std::chrono::steady_clock::now();
            f();
            return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        }
        const c10::impl::VirtualGuardImpl guard(device_.type());
        const c10::Stream stream = guard.getStream(device_);
        c10::Event begin(device_.type(), c10::EventFlag::BACKEND_DEFAULT),
            end(device_.type(), c10::EventFlag::BACKEND_DEFAULT);
        begin.record(stream);
        f();
        end.record(stream);
        end.synchronize();
        return begin.elapsedTime(end) * 1e-3;
    }

private:
    at::Device device_;
};

double median(std::vector<double> v) {
    std::sort(v.begin(), v.end());
    return v.empty() ? 0 : v.size() % 2 ? v[v.size() / 2] : 0.5 * (v[v.size() / 2 - 1] + v[v.size() / 2]);
}
double least(const std::vector<double>& v) { return v.empty() ? 0 : *std::min_element(v.begin(), v.end()); }

std::string list(const std::vector<double>& values) {
    std::ostringstream out;
    for (size_t i = 0; i < values.size(); ++i) out << (i ? ", " : "") << values[i];
    return "[" + out.str() + "]";
}

LlamaConfig shape_of(const Options& o) {
    LlamaConfig c;
    if (o.shape == "tiny") {
        c.layers = 4, c.hidden = 256, c.heads = 4, c.intermediate = 688, c.vocab = 1024;
    } else if (o.shape == "llama-7b" || o.shape == "llama-7b-slice") {
        c.layers = o.shape == "llama-7b" ? 32 : 1, c.hidden = 4096, c.heads = 32, c.intermediate = 11008;
        c.vocab = o.shape == "llama-7b" ? 32000 : 1024;
    } else {
        throw Error::config("--shape must be llama-7b, llama-7b-slice or tiny, got ", o.shape);
    }
    if (o.layers > 0) c.layers = o.layers;
    c.kv_heads = c.heads, c.head_dim = c.hidden / c.heads, c.positions = 8192;
    return c;
}

// Operations of a step: base products forward and for dx, the low-rank paths (three products each way),
// causal attention (half of T^2, forward and twice that backward), the head both ways; DoRA: the norm's U
// once.
double step_flops(const LlamaConfig& c, const Options& o, bool dora) {
    const double t = double(o.tokens), h = double(c.hidden), f = double(c.intermediate), r = double(o.rank);
    const double base = 4 * t * (4 * h * h + 3 * h * f);
    const double low = 6 * t * r * (3 * (h + h) + 2 * (h + f));
    const double attention = 3 * 2 * t * t * h; // forward 4 T^2 h / 2
    const double norm = dora ? 2 * r * (3 * h * h + 2 * h * f) : 0;
    return double(c.layers) * (base + low + attention + norm) + 4 * t * h * double(c.vocab);
}

struct Ceilings {
    double product_rate = 0, copy_rate = 0;
};

Ceilings measure_ceilings(const Timer& timer, at::Device device, at::ScalarType type) {
    const int64_t n = device.is_cuda() ? 8192 : 512, m = device.is_cuda() ? int64_t(1) << 30 : 1 << 22;
    const at::TensorOptions options = at::TensorOptions(type).device(device);
    const at::Tensor a = at::randn({n, n}, options), b = at::randn({n, n}, options);
    at::Tensor c = at::empty({n, n}, options), from = at::empty({m}, options.dtype(at::kByte)).fill_(1),
               to = at::empty_like(from);
    std::vector<double> products, copies;
    for (int i = 0; i < 8; ++i) {
        const double p = timer([&] { at::mm_out(c, a, b); }), q = timer([&] { to.copy_(from); });
        if (i >= 3) products.push_back(p), copies.push_back(q);
    }
    return {2.0 * double(n) * double(n) * double(n) / median(products), 2.0 * double(m) / median(copies)};
}

// One kernel over [tokens, 4096]: bytes it must move over its time, as a part of a copy's rate.
void bench_kernels(const Timer& timer, at::Device device, at::ScalarType type, const Options& o,
                   const Ceilings& top) {
    const int64_t t = o.tokens, n = o.shape == "tiny" ? 256 : 4096;
    const at::TensorOptions options = at::TensorOptions(type).device(device);
    at::Tensor z = at::randn({t, n}, options), dy = at::randn({t, n}, options),
               y = at::randn({t, n}, options), dz = at::empty({t, n}, options);
    const at::Tensor g = at::ones({n}, options.dtype(at::kFloat)), w = at::randn({n, n}, options),
                     a = at::randn({o.rank, n}, options), b = at::randn({n, o.rank}, options),
                     scale = at::ones({n}, options);
    const at::Tensor w2 = squared_row_norms(w);
    const double pass = double(t) * double(n) * double(z.element_size());
    struct Kernel {
        const char* name;
        double bytes;
        std::function<void()> run;
    };
    const std::vector<Kernel> kernels = {
        {"compose", 2 * pass, [&] { compose_(z, g, {}); }},
        {"scale_and_reduce", 3 * pass, [&] { scale_and_reduce(dy, y, g, {}, dz); }},
        {"rms_norm", 2 * pass, [&] { rms_norm(z, scale, 1e-6); }},
        {"swiglu", 3 * pass, [&] { swiglu(dy, y); }},
        {"dora_norm", double(w.numel()) * double(w.element_size()), [&] { dora_norm(w, w2, a, b, 2); }},
        {"squared_row_norms", double(w.numel()) * double(w.element_size()), [&] { squared_row_norms(w); }},
    };
    at::NoGradGuard no_grad;
    for (const Kernel& kernel : kernels) {
        std::vector<double> times;
        for (int i = 0; i < 25; ++i) {
            const double s = timer(kernel.run);
            if (i >= 5) times.push_back(s);
        }
        const double rate = kernel.bytes / median(times);
        std::cout << "{\"kind\": \"kernel\", \"name\": \"" << kernel.name << "\", \"rows\": " << t
                  << ", \"columns\": " << n << ", \"seconds\": " << median(times)
                  << ", \"seconds_min\": " << least(times) << ", \"bytes_per_second\": " << rate
                  << ", \"of_copy\": " << rate / top.copy_rate << "}" << std::endl;
    }
}

void bench_steps(const Timer& timer, at::Device device, at::ScalarType type, const Options& o,
                 const Ceilings& top) {
    const LlamaConfig c = shape_of(o);
    auto model = cases::random_llama(c, type, type, device, true, false);
    model->set_training(true);
    const at::Tensor ids = at::randint(3, c.vocab, {o.tokens}, at::kLong).to(device);
    std::map<std::string, std::vector<double>> times;
    std::map<std::string, double> losses;
    std::vector<std::pair<std::string, std::unique_ptr<cases::Adapter>>> methods;
    for (const char* name : {"lora", "dora", "dora_full"})
        methods.emplace_back(name, std::make_unique<cases::Adapter>(*model, name, o.rank, 0.0, 1));
    for (int64_t turn = 0; turn < o.steps + 2; ++turn)
        for (auto& [name, adapter] : methods) {
            adapter->attach();
            at::Tensor loss;
            const double seconds = timer([&] { loss = adapter->step(*model, ids, 1e-4); });
            losses[name] = loss.item<double>();
            if (turn >= 2) times[name].push_back(seconds);
        }
    for (auto& [name, adapter] : methods) {
        const double seconds = median(times[name]), flops = step_flops(c, o, name != "lora");
        std::cout << "{\"kind\": \"step\", \"tool\": \"dora-bench\", \"shape\": \"" << o.shape
                  << "\", \"layers\": " << c.layers << ", \"method\": \"" << name
                  << "\", \"rank\": " << o.rank << ", \"tokens\": " << o.tokens << ", \"dtype\": \""
                  << o.dtype << "\", \"step_seconds\": " << seconds
                  << ", \"step_seconds_min\": " << least(times[name])
                  << ", \"step_seconds_all\": " << list(times[name]) << ", \"flops\": " << flops
                  << ", \"mfu\": " << flops / seconds / kDatasheetRate
                  << ", \"of_measured\": " << flops / seconds / top.product_rate
                  << ", \"trainable\": " << adapter->trainable() << ", \"loss\": " << losses[name] << "}"
                  << std::endl;
    }
    for (const char* name : {"dora", "dora_full"}) {
        std::vector<double> pairs;
        for (size_t i = 0; i < times[name].size(); ++i) pairs.push_back(times[name][i] / times["lora"][i]);
        std::cout << "{\"kind\": \"ratio\", \"shape\": \"" << o.shape << "\", \"name\": \"" << name
                  << " / lora\", \"paired_median\": " << median(pairs)
                  << ", \"of_minima\": " << least(times[name]) / least(times["lora"]) << "}" << std::endl;
    }
}

Options parse(int argc, char** argv) {
    Options o;
    const std::map<std::string, std::string*> words{
        {"--device", &o.device}, {"--shape", &o.shape}, {"--dtype", &o.dtype}};
    const std::map<std::string, int64_t*> numbers{
        {"--layers", &o.layers}, {"--tokens", &o.tokens}, {"--rank", &o.rank}, {"--steps", &o.steps}};
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 >= argc) throw Error::config("a value is missing behind ", argv[i]);
        if (auto word = words.find(argv[i]); word != words.end())
            *word->second = argv[i + 1];
        else if (auto number = numbers.find(argv[i]); number != numbers.end())
            *number->second = std::strtoll(argv[i + 1], nullptr, 10);
        else
            throw Error::config("unknown option ", argv[i]);
    }
    if (o.tokens < 2 || o.rank < 1 || o.steps < 1 || o.layers < 0)
        throw Error::config("--tokens must be at least 2, --rank and --steps at least 1");
    if (o.dtype != "bfloat16" && o.dtype != "float32")
        throw Error::config("--dtype must be bfloat16 or float32, got ", o.dtype);
    return o;
}

} // namespace

int main(int argc, char** argv) {
    try {
        const Options o = parse(argc, argv);
        at::Device device(at::kCPU);
        try {
            device = resolve_device(o.device);
        } catch (const Error& error) {
            std::cout << "skipped: " << error.what() << std::endl;
            return 77;
        }
        const at::ScalarType type = o.dtype == "float32" ? at::kFloat : at::kBFloat16;
        const Timer timer(device);
        const Ceilings top = measure_ceilings(timer, device, type);
        std::cout << "{\"kind\": \"ceilings\", \"device\": \"" << device.str()
                  << "\", \"product_flops_per_second\": " << top.product_rate
                  << ", \"copy_bytes_per_second\": " << top.copy_rate << "}" << std::endl;
        bench_kernels(timer, device, type, o, top);
        bench_steps(timer, device, type, o, top);
        return 0;
    } catch (const std::exception& error) {
        std::cerr << "gpu_bench: " << error.what() << std::endl;
        return 1;
    }
}
