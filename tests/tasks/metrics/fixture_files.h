#pragma once
// Small files for the metric tests.
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "tasks/metrics/metric.h"
#include "tests/support/paths.h"
#include <fstream>
#include <gtest/gtest.h>
#include <string>

namespace dorabench::test {

// Without the harness's fsync: these files need not outlive a crash.
inline void put_file(const std::string& path, const std::string& content) {
    std::ofstream(path, std::ios::binary) << content;
}

// A reference and a prediction file of the given content, and a metric over them.
class MetricFiles {
public:
    MetricFiles(const std::string& references, const std::string& predictions) {
        put_file(folder_ / "references", references);
        put_file(folder_ / "predictions", predictions);
    }
    MetricValues compute(const std::string& metric) const {
        return find_metric(metric).compute(folder_ / "references", folder_ / "predictions");
    }
    // The message of the data error that computing ends in; "" when it does not.
    std::string error(const std::string& metric) const {
        try {
            compute(metric);
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::data);
            return error.what();
        }
        return "";
    }

private:
    TempDir folder_;
};

} // namespace dorabench::test
