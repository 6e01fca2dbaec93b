#pragma once
// Which images or videos a section `features` names, and their pictures as an encoder takes them, decoded by
// several threads ahead of the encoder, in the files' order.
#include "backends/media/media.h"
#include "harness/api/settings.h"
#include <condition_variable>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace dorabench {

struct MediaFile {
    std::string id, path;
};

// The folder's files (hidden ones aside, with those of the folders in it), by name without ending, sorted; or
// those of the list. Error::data for ids that stand twice, for an empty folder and for a list that cannot be
// read.
std::vector<MediaFile> list_media(const std::string& folder, const std::string& list);

// What one file came to: pictures of side x side pixels, or why there are none.
struct DecodedMedia {
    size_t index = 0;
    std::vector<Image> pictures;
    std::string why; // not empty: damaged
};

struct DecodeOptions {
    bool video = false, stretch = false;
    int side = 224;
    double every = 1.5;
    int64_t workers = 0;
};

class MediaReader {
public:
    MediaReader(const std::vector<MediaFile>& files, const DecodeOptions& options);
    ~MediaReader(); // stops the threads
    MediaReader(const MediaReader&) = delete;
    // The next file in order; false at the end. Throws what a thread met beside damaged data (memory, a
    // missing library).
    bool next(DecodedMedia& out);

private:
    void work();
    DecodedMedia decode(size_t index) const;
    const std::vector<MediaFile>& files_;
    DecodeOptions options_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::map<size_t, DecodedMedia> done_;
    size_t taken_ = 0, given_ = 0, ahead_ = 0;
    bool stop_ = false;
    std::exception_ptr failed_;
    std::vector<std::thread> threads_;
};

} // namespace dorabench
