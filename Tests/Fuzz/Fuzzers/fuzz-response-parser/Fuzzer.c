#include <stddef.h>
#include <stdint.h>

int martlet_fuzz_response_parser(const uint8_t *bytes, ptrdiff_t count);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
  return martlet_fuzz_response_parser(bytes, (ptrdiff_t)count);
}
