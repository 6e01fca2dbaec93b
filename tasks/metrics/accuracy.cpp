#include "tasks/metrics/accuracy.h"
#include "tasks/metrics/statistics.h"

namespace dorabench {

Accuracy accuracy(const std::vector<Score>& scores) {
    std::vector<double> all, parsed;
    for (const Score& score : scores) {
        all.push_back(score.score);
        if (score.parsed) parsed.push_back(score.score);
    }
    Accuracy out;
    out.all = mean_measurement(all);
    out.parsed = mean_measurement(parsed);
    out.unparsed = static_cast<int64_t>(all.size() - parsed.size());
    return out;
}

Measurement mean_of_value(const std::vector<Score>& scores, const std::string& name) {
    std::vector<double> values;
    for (const Score& score : scores)
        if (auto at = score.values.find(name); at != score.values.end()) values.push_back(at->second);
    return mean_measurement(values);
}

} // namespace dorabench
