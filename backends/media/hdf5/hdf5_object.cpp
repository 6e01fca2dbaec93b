// HDF5 features, in a shared object of its own (libdorabench_hdf5.so), so that the program links no HDF5.
#include "backends/media/feature_files.h"
#include "harness/base/error.h"
#include "harness/base/text.h"
#include <hdf5.h>
#include <mutex>

namespace dorabench {
namespace {

constexpr hsize_t kMostValues = hsize_t(1) << 28;

class Handle { // closes what it holds
public:
    Handle(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
    ~Handle() {
        if (id_ >= 0) close_(id_);
    }
    Handle(const Handle&) = delete;
    operator hid_t() const { return id_; }

private:
    hid_t id_;
    herr_t (*close_)(hid_t);
};

// The chain of names inside the file; a link that leaves the file could open any other one.
void check_links(hid_t file, const std::string& dataset, const std::string& what) {
    std::string path;
    for (const std::string& part : split(dataset, '/')) {
        path += path.empty() ? part : "/" + part;
        H5L_info_t info;
        if (H5Lexists(file, path.c_str(), H5P_DEFAULT) <= 0 ||
            H5Lget_info(file, path.c_str(), &info, H5P_DEFAULT) < 0)
            throw Error::data(what, ": expected a dataset of that name, there is no \"", path, "\"");
        if (info.type != H5L_TYPE_HARD)
            throw Error::data(what, ": expected the data itself, \"", path, "\" is a link to another place");
    }
}

class Library final : public Hdf5Library {
public:
    Library() {
        H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr); // errors are exceptions, not prints
        H5PLset_loading_state(0);                    // no code is loaded for a file's filters
    }
    FeatureTable read_matrix(const std::string& path, const std::string& dataset) const override {
        std::lock_guard<std::mutex> lock(mutex_); // the library keeps global state
        const std::string what = path + ": " + dataset;
        Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
        if (file < 0)
            throw Error::data(path, ": expected an HDF5 file, it is damaged, missing or of another kind");
        check_links(file, dataset, what);
        Handle data(H5Dopen2(file, dataset.c_str(), H5P_DEFAULT), H5Dclose);
        if (data < 0) throw Error::data(what, ": expected a dataset, got something else");
        Handle plist(H5Dget_create_plist(data), H5Pclose);
        if (plist < 0 || H5Pget_layout(plist) == H5D_VIRTUAL || H5Pget_external_count(plist) > 0)
            throw Error::data(what, ": expected the data in this file, they lie in others");
        Handle type(H5Dget_type(data), H5Tclose);
        if (type < 0 || H5Tget_class(type) != H5T_FLOAT)
            throw Error::data(what, ": expected floating-point numbers, got another type");
        Handle space(H5Dget_space(data), H5Sclose);
        hsize_t sizes[2] = {0, 0};
        if (space < 0 || H5Sget_simple_extent_ndims(space) != 2 ||
            H5Sget_simple_extent_dims(space, sizes, nullptr) < 0)
            throw Error::data(what, ": expected features [rows, width], got another number of dimensions");
        if (sizes[0] == 0 || sizes[1] == 0 || sizes[0] > kMostValues / sizes[1])
            throw Error::data(what, ": expected 1 to ", kMostValues, " values, got [", sizes[0], ", ",
                              sizes[1], "]");
        FeatureTable out{static_cast<int64_t>(sizes[0]), static_cast<int64_t>(sizes[1]), {}};
        out.values.resize(sizes[0] * sizes[1]);
        if (H5Dread(data, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, out.values.data()) < 0)
            throw Error::data(what,
                              ": expected readable data, they are damaged or packed with an unknown filter");
        return out;
    }
    void write_matrix(const std::string& path, const std::string& dataset,
                      const FeatureTable& table) const override {
        std::lock_guard<std::mutex> lock(mutex_);
        Handle file(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), H5Fclose);
        Handle links(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
        H5Pset_create_intermediate_group(links, 1);
        const hsize_t sizes[2] = {static_cast<hsize_t>(table.rows), static_cast<hsize_t>(table.width)};
        Handle space(H5Screate_simple(2, sizes, nullptr), H5Sclose);
        Handle data(file < 0 ? -1
                             : H5Dcreate2(file, dataset.c_str(), H5T_IEEE_F32LE, space, links, H5P_DEFAULT,
                                          H5P_DEFAULT),
                    H5Dclose);
        if (data < 0 ||
            H5Dwrite(data, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, table.values.data()) < 0)
            throw Error::resources(path, ": could not be written as HDF5 (", dataset, ")");
    }

private:
    mutable std::mutex mutex_;
};

} // namespace
} // namespace dorabench

extern "C" const dorabench::Hdf5Library* dorabench_hdf5_v1() {
    static const dorabench::Library library;
    return &library;
}
