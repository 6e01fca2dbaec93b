#include "harness/base/error.h"

namespace dorabench {

int exit_code(ErrorKind kind) {
    switch (kind) {
    case ErrorKind::config:
    case ErrorKind::plugin:
        return 2;
    case ErrorKind::incomparable:
        return 4;
    case ErrorKind::data:
        return 6;
    case ErrorKind::check:
        return 7;
    case ErrorKind::resources:
        return 8;
    case ErrorKind::interrupted:
        return 130;
    case ErrorKind::failed:
    case ErrorKind::internal:
        return 1;
    }
    return 1;
}

} // namespace dorabench
