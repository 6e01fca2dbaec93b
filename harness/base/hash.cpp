// sha256_hex and sha256_file of text.h, by OpenSSL.
#include "harness/base/error.h"
#include "harness/base/text.h"
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <openssl/evp.h>

namespace dorabench {

namespace {

class Sha256 {
public:
    Sha256() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
        if (!context_ || EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) != 1)
            throw Error::internal("sha256: OpenSSL offers no SHA-256");
    }
    void add(const char* bytes, size_t size) {
        if (EVP_DigestUpdate(context_.get(), bytes, size) != 1)
            throw Error::internal("sha256: OpenSSL failed");
    }
    std::string hex() {
        std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
        unsigned size = 0;
        if (EVP_DigestFinal_ex(context_.get(), digest.data(), &size) != 1)
            throw Error::internal("sha256: OpenSSL failed");
        std::string out;
        for (unsigned i = 0; i < size; ++i) {
            out += "0123456789abcdef"[digest[i] >> 4];
            out += "0123456789abcdef"[digest[i] & 15];
        }
        return out;
    }

private:
    std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

} // namespace

std::string sha256_hex(std::string_view bytes) {
    Sha256 hash;
    hash.add(bytes.data(), bytes.size());
    return hash.hex();
}

std::string sha256_file(const std::string& path) {
    std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
    if (!file) throw Error::data(path, ": cannot be opened: ", std::strerror(errno));
    Sha256 hash;
    std::vector<char> buffer(size_t(1) << 20);
    while (size_t got = std::fread(buffer.data(), 1, buffer.size(), file.get())) hash.add(buffer.data(), got);
    if (std::ferror(file.get())) throw Error::data(path, ": cannot be read: ", std::strerror(errno));
    return hash.hex();
}

} // namespace dorabench
