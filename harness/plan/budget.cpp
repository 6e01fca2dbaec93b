#include "harness/base/text.h"
#include "harness/plan/plan.h"
#include <cmath>
#include <cstdlib>

namespace dorabench {
namespace {

constexpr int64_t kLargestRank = 65536;

// The measured quantity at a rank, in the budget's unit (a percent or a number).
double spent(const Budget& budget, const ModelShapes& shapes, RunSettings& settings, int64_t rank) {
    settings.adapter.rank = rank;
    AdapterCount count = count_adapter(shapes, settings.adapter);
    if (budget.what == "stored_bytes") return static_cast<double>(count.stored_bytes);
    if (budget.what == "memory") return static_cast<double>(estimate_memory(shapes, count, settings).total());
    double trainable = static_cast<double>(count.trainable);
    return budget.percent ? 100 * trainable / static_cast<double>(count.base + count.added) : trainable;
}

} // namespace

Budget parse_budget(const std::string& what, const std::string& text) {
    Budget budget{what, 0, false};
    std::string trimmed = trim(text);
    char* end = nullptr;
    budget.amount = std::strtod(trimmed.c_str(), &end);
    std::string unit = end == trimmed.c_str() ? "?" : trim(end);
    if (what == "trainable") {
        budget.percent = unit == "%";
        const std::pair<const char*, double> units[] = {{"", 1},    {"%", 1},   {"k", 1e3},
                                                        {"K", 1e3}, {"M", 1e6}, {"B", 1e9}};
        for (const auto& [name, factor] : units)
            if (unit == name && budget.amount > 0) return {what, budget.amount * factor, budget.percent};
        throw Error::config("match.trainable: expected a percent or a number of parameters (1%, 50M), got \"",
                            text, "\"");
    }
    const std::pair<const char*, double> units[] = {{"", 1},          {"B", 1},        {"KB", 1e3},
                                                    {"MB", 1e6},      {"GB", 1e9},     {"KiB", 1 << 10},
                                                    {"MiB", 1 << 20}, {"GiB", 1 << 30}};
    if (what == "stored_bytes" || what == "memory")
        for (const auto& [name, factor] : units)
            if (unit == name && budget.amount > 0) return {what, budget.amount * factor, false};
    if (what == "stored_bytes" || what == "memory")
        throw Error::config("match.", what, ": expected a size in bytes (10MB, 8MiB), got \"", text, "\"");
    throw Error::config("match: expected trainable, stored_bytes or memory, got \"", what, "\"",
                        did_you_mean(what, {"trainable", "stored_bytes", "memory"}));
}

int64_t solve_rank(const Budget& budget, const ModelShapes& shapes, RunSettings settings) {
    const std::string& method = settings.adapter.method;
    if (method == "ft" || method == "none")
        throw Error::config("match: method ", method, " has no rank to solve for");
    int64_t low = 1, high = kLargestRank; // spent(low) <= budget < spent(high), once the ends are checked
    if (spent(budget, shapes, settings, low) >= budget.amount) return low;
    if (spent(budget, shapes, settings, high) <= budget.amount) return high;
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        (spent(budget, shapes, settings, middle) <= budget.amount ? low : high) = middle;
    }
    double below = budget.amount - spent(budget, shapes, settings, low);
    double above = spent(budget, shapes, settings, high) - budget.amount;
    return below <= above ? low : high;
}

} // namespace dorabench
