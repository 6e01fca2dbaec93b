#include "tasks/sheet.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <unistd.h>
#include <xlsxwriter.h>

namespace dorabench {
namespace {

constexpr time_t kCreated = 1577836800; // 2020-01-01: the same for every workbook
constexpr size_t kLongestCell = 32767;

// A folder of its own, which the library also uses for its parts; gone with the object.
class TemporaryFolder {
public:
    TemporaryFolder() {
        std::error_code error;
        path_ = (std::filesystem::temp_directory_path(error) / "dora-bench-XXXXXX").string();
        if (error || !mkdtemp(path_.data()))
            throw Error::resources("a workbook: expected a folder for temporary files (TMPDIR), got none at ",
                                   path_);
    }
    ~TemporaryFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;
    const std::string& path() const { return path_; }

private:
    std::string path_;
};

bool is_whole_number(const std::string& cell) {
    return !cell.empty() && cell.size() <= 15 && cell.find_first_not_of("0123456789") == std::string::npos &&
           (cell.size() == 1 || cell[0] != '0');
}

std::string cut(std::string cell) { // at a character's end
    if (cell.size() <= kLongestCell) return cell;
    size_t end = kLongestCell;
    while (end > 0 && (static_cast<unsigned char>(cell[end]) & 0xC0) == 0x80) --end;
    cell.resize(end);
    return cell;
}

void check(lxw_error error, const std::string& where) {
    if (error == LXW_NO_ERROR) return;
    if (error == LXW_ERROR_WORKSHEET_INDEX_OUT_OF_RANGE)
        throw Error::data(where, ": expected at most 1048576 rows in an Excel sheet");
    throw Error::resources("a workbook, ", where, ": ", lxw_strerror(error));
}

} // namespace

std::string excel_sheet(const std::vector<std::string>& header,
                        const std::vector<std::vector<std::string>>& rows) {
    const TemporaryFolder folder;
    const std::string file = folder.path() + "/sheet.xlsx";
    lxw_workbook_options options{};
    std::string temporary = folder.path(); // the library takes no const
    options.tmpdir = temporary.data();
    std::unique_ptr<lxw_workbook, decltype(&lxw_workbook_free)> book(workbook_new_opt(file.c_str(), &options),
                                                                     lxw_workbook_free);
    if (!book) throw Error::resources("a workbook: out of memory");
    lxw_doc_properties properties{};
    properties.created = kCreated;
    workbook_set_properties(book.get(), &properties);
    lxw_worksheet* sheet = workbook_add_worksheet(book.get(), "Sheet1");
    auto write = [&](size_t row, const std::vector<std::string>& cells) {
        for (size_t column = 0; column < cells.size(); ++column) {
            const std::string where = cat("row ", row + 1, ", column ", column + 1);
            const auto at_row = static_cast<lxw_row_t>(row);
            const auto at_column = static_cast<lxw_col_t>(column);
            if (is_whole_number(cells[column]))
                check(worksheet_write_number(sheet, at_row, at_column, std::stod(cells[column]), nullptr),
                      where);
            else if (!cells[column].empty())
                check(worksheet_write_string(sheet, at_row, at_column, cut(cells[column]).c_str(), nullptr),
                      where);
        }
    };
    write(0, header);
    for (size_t i = 0; i < rows.size(); ++i) {
        if (rows[i].size() != header.size())
            throw Error::internal("a workbook: expected ", header.size(), " cells in row ", i + 2, ", got ",
                                  rows[i].size());
        write(i + 1, rows[i]);
    }
    check(workbook_close(book.release()), "writing it"); // frees it whatever happens
    return read_file(file);
}

} // namespace dorabench
