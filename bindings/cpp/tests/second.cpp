// The header in another translation unit, and twice: nothing is defined twice.

#include <glebe.hpp>

#include <glebe.hpp>

glebe::Runtime second_runtime();
glebe::Runtime second_runtime() { return glebe::Runtime(); }

const void *second_address();
const void *second_address() { return reinterpret_cast<const void *>(&glebe::check_abi); }
