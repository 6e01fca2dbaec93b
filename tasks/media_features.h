#pragma once
// Where the features of a task's images and videos lie: in the store (one safetensors file an item), or in
// the field's own files (.h5, .npz), which are brought into the store when they are first met.
#include "tasks/spec.h"
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace dorabench {

class FeatureFinder {
public:
    FeatureFinder(const TaskSpec& spec, const std::string& data_dir);
    // The files of an item's images (or of its video), one a line, as Media::features has them. Nothing where
    // one is missing or damaged, which is remembered with the item's place.
    std::optional<std::string> find(const std::vector<std::vector<std::string>>& media,
                                    const std::string& place);
    // At the end of the data: says what was left out, or refuses the data, naming examples, ids and reasons
    // (Error::data).
    void finish() const;
    int64_t left_out() const { return left_out_; }

private:
    struct Found {
        std::string path, why; // why: the reason where there is no path
    };
    const Found& look(const std::vector<std::string>& ids);
    Found search(const std::vector<std::string>& ids) const;
    std::string store_path(const std::string& id) const; // "" where no candidate is of our store

    const TaskSpec& spec_;
    std::string data_dir_;
    std::vector<std::string> patterns_; // candidates whose folder exists, whole paths
    std::map<std::string, Found> seen_; // by first id
    std::vector<std::string> missing_;
    int64_t left_out_ = 0, brought_ = 0;
};

// "{id}" and "{id:012}" replaced; nothing where the id is no number that the latter needs. Error::data for an
// id that would leave the folder.
std::optional<std::string> fill_id(const std::string& pattern, const std::string& id);

} // namespace dorabench
