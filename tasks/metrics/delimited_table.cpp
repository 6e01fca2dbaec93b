#include "tasks/metrics/delimited_table.h"

#include "harness/base/error.h"
#include "harness/base/files.h"

namespace dorabench {

DelimitedTable::DelimitedTable(std::string path, const std::string& content, char separator)
    : path_(std::move(path)) {
    std::vector<std::string> row;
    std::string cell;
    bool quoted = false, header = true;
    auto end_row = [&] {
        row.push_back(std::move(cell));
        cell.clear();
        if (row.size() == 1 && row[0].empty()) { // a blank line
            row.clear();
            return;
        }
        if (header) {
            for (size_t i = 0; i < row.size(); ++i) columns_[row[i]] = i;
            width_ = row.size();
            header = false;
        } else {
            if (row.size() > width_)
                throw Error::data(path_, ", row ", cells_.size() + 1, ": ", width_,
                                  " cells expected, as the header has, got ", row.size());
            row.resize(width_);
            cells_.push_back(std::move(row));
        }
        row.clear();
    };
    for (size_t i = 0; i < content.size(); ++i) {
        char c = content[i];
        if (quoted && c == '"' && i + 1 < content.size() && content[i + 1] == '"') {
            cell += '"';
            ++i;
        } else if (quoted) {
            if (c == '"')
                quoted = false;
            else
                cell += c;
        } else if (c == '"' && cell.empty()) {
            quoted = true;
        } else if (c == separator) {
            row.push_back(std::move(cell));
            cell.clear();
        } else if (c == '\n') {
            end_row();
        } else if (c != '\r') {
            cell += c;
        }
    }
    if (quoted)
        throw Error::data(path_, ", row ", cells_.size() + 1, ": a closing quote expected, the file ends");
    if (!cell.empty() || !row.empty()) end_row();
    if (header) throw Error::data(path_, ": a header line expected, the file is empty");
}

const std::string& DelimitedTable::cell(size_t row, const std::string& column) const {
    auto found = columns_.find(column);
    if (found == columns_.end())
        throw Error::data(path_, ": a column \"", column, "\" expected, there is none");
    return cells_.at(row).at(found->second);
}

std::string DelimitedTable::place(size_t row) const { return cat(path_, ", row ", row + 1); }

DelimitedTable read_table(const std::string& path, char separator) {
    return {path, read_file(path), separator};
}

} // namespace dorabench
