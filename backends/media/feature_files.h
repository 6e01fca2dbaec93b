#pragma once
// Features of images and videos as files: our store (one safetensors file a media item, tensor feats [N, D]
// in float16, which training maps into memory) and the field's own forms, VL-Adapter's HDF5 grids
// ({img_id}.h5, dataset {img_id}/features) and VALUE's archives ({vid}.npz, array features). No torch; HDF5
// is read by a shared object of its own that is loaded when such a file is first met.
#include <cstdint>
#include <string>
#include <vector>

namespace dorabench {

struct FeatureTable {
    int64_t rows = 0, width = 0;
    std::vector<float> values; // [rows, width]
};

// By the name's end: .safetensors, .h5, .npz. Error::data names file, place and reason for damage, other
// shapes, values that are not finite, and more than 2^28 values; Error::resources where HDF5 is not at hand.
FeatureTable read_features(const std::string& path, const std::string& id);
// Atomically, folders made; the file is whole or not there. source: where the features come from, kept in the
// file's metadata. Error::data for a value that float16 does not hold.
void write_features(const std::string& path, const FeatureTable& table, const std::string& source);
// Is this a file of our store, with feats [N >= 1, D >= 1]? Reads the header alone; Error::data says what is
// wrong.
void check_stored_features(const std::string& path);

// Exactly `rows` rows, as VALUE's loader makes them: zeros behind the last where there are fewer, adaptive
// max pooling over neighbours where there are more. rows 0: as it is.
FeatureTable fit_rows(const FeatureTable& table, int64_t rows);

uint16_t half_from_float(float value); // IEEE 754 binary16, round to nearest even
float float_from_half(uint16_t bits);

class Hdf5Library {
public:
    virtual ~Hdf5Library() = default;
    // A two-dimensional dataset of numbers as float32. Links out of the file, external storage, virtual
    // datasets and filter plug-ins are refused.
    virtual FeatureTable read_matrix(const std::string& path, const std::string& dataset) const = 0;
    // For tests and for handing features to other projects.
    virtual void write_matrix(const std::string& path, const std::string& dataset,
                              const FeatureTable& table) const = 0;
};
const Hdf5Library& hdf5_library(); // Error::resources with the repair where it is absent
bool hdf5_available(std::string* why_not = nullptr);

} // namespace dorabench
