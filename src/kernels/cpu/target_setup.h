// Which instruction sets Highway compiles the fast kernels for. Include before hwy/foreach_target.h. The baseline
// (SSE2) has no fused multiply-add and gets no table; AVX3_DL of Highway 1.0.3 names the wrong VNNI, so that the
// AVX512-VNNI leaf is built by hand beside AVX3.
#pragma once

#ifdef __SANITIZE_THREAD__  // what threads share is the same in every table: one is enough, in a third of the time
#define GANNET_LEFT_OUT HWY_AVX3
#else
#define GANNET_LEFT_OUT 0
#endif
#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | GANNET_LEFT_OUT)
#define GANNET_IS_FAST (HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON)
