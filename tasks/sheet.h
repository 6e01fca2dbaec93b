#pragma once
// A table as the only sheet of an Excel workbook (.xlsx), the form in which MMBench's server takes answers.
// Equal tables give equal bytes: the workbook's dates are fixed.
#include <string>
#include <vector>

namespace dorabench {

// header and rows of text (UTF-8), all as wide as the header. A cell that is a whole number of at most 15
// digits is stored as one, an empty cell is left out, and what Excel has no room for (beyond 32,767 bytes) is
// cut off. Error::data for more than its 1,048,576 rows; Error::resources where no temporary file can be
// written.
std::string excel_sheet(const std::vector<std::string>& header,
                        const std::vector<std::vector<std::string>>& rows);

} // namespace dorabench
