#pragma once
// A table of text cells with a header line: tab- or comma-separated, cells in double quotes may hold
// separators, line breaks and doubled quotes (as pandas writes them). Gzipped files are read as they are.
#include <string>
#include <unordered_map>
#include <vector>

namespace dorabench {

class DelimitedTable {
public:
    DelimitedTable(std::string path, const std::string& content,
                   char separator); // Error::data: a row that doesn't fit the header
    size_t rows() const { return cells_.size(); }
    bool has(const std::string& column) const { return columns_.count(column) > 0; }
    const std::string& cell(size_t row,
                            const std::string& column) const; // Error::data when there is no such column
    std::string place(size_t row) const;                      // "file, row 3", for messages

private:
    std::string path_;
    size_t width_ = 0; // cells of the header, double names among them
    std::unordered_map<std::string, size_t> columns_;
    std::vector<std::vector<std::string>> cells_;
};

DelimitedTable read_table(const std::string& path, char separator);

} // namespace dorabench
