#include <stddef.h>
#include <stdint.h>

int martlet_fuzz_http2_server(const uint8_t *bytes, ptrdiff_t count);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
  return martlet_fuzz_http2_server(bytes, (ptrdiff_t)count);
}
