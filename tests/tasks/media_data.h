#pragma once
// A folder of small data in the field's formats, features of a few numbers included, and a catalog over the
// specs.
#include "backends/media/feature_files.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "tasks/catalog.h"
#include "tests/support/paths.h"
#include <functional>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

namespace dorabench {

class MediaData : public testing::Test {
protected:
    static const TaskCatalog& catalog() {
        static const TaskCatalog all(test::source_dir() + "/tasks/specs");
        return all;
    }
    void put(const std::string& name, const std::string& content) {
        const std::string path = folder_ / name;
        make_folder(std::filesystem::path(path).parent_path().string());
        write_file_atomic(path, content);
    }
    void feature(const std::string& set, const std::string& id, int64_t rows = 4) {
        FeatureTable table{rows, 2, std::vector<float>(static_cast<size_t>(rows * 2), 0.5f)};
        write_features(folder_ / ("features/" + set + "/" + id + ".safetensors"), table, "a test");
    }
    TaskOptions options() const {
        TaskOptions out;
        out.data_dir = folder_.path();
        out.num_beams = out.max_new_tokens = 0; // the task's own
        return out;
    }
    std::unique_ptr<Task> make(const std::string& name) const { return catalog().make(name, options()); }
    std::vector<TrainingPair> pairs(const std::string& name) const {
        return catalog().training_pairs(name, options());
    }
    static Score answered(const Task& task, const Example& example, const std::string& text) {
        Response response;
        response.text = text;
        return task.score(example, {response});
    }
    static std::string complaint(const std::function<void()>& act, ErrorKind kind = ErrorKind::data) {
        try {
            act();
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), kind) << error.what();
            return error.what();
        }
        return "no complaint";
    }
    test::TempDir folder_;
};

} // namespace dorabench
