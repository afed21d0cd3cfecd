#include <stddef.h>
#include <stdint.h>

int martlet_fuzz_body_decoder(const uint8_t *bytes, ptrdiff_t count);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
  return martlet_fuzz_body_decoder(bytes, (ptrdiff_t)count);
}
