// Which instruction sets Highway compiles the fast kernels for. Include before hwy/foreach_target.h. The baseline
// (SSE2) has no fused multiply-add and gets no table; AVX3_DL of Highway 1.0.3 names the wrong VNNI, and none has
// AVX-VNNI, so that the leaves with VNNI are built by hand beside AVX3 and AVX2.
#pragma once

#ifdef __SANITIZE_THREAD__  // what threads share is the same in every table: one is enough, in a third of the time
#define GANNET_LEFT_OUT HWY_AVX3
#define GANNET_HAS_AVX_VNNI 0
#else
#define GANNET_LEFT_OUT 0
#define GANNET_HAS_AVX_VNNI 1
#endif
#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | GANNET_LEFT_OUT)
#define GANNET_IS_FAST (HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON)

// GANNET_INT8_VNNI says with which instruction, if any, a leaf adds four products of bytes to each int32.
#define GANNET_VNNI_512 1       // AVX512-VNNI
#define GANNET_VNNI_256_VEX 2   // AVX-VNNI
#define GANNET_VNNI_256_EVEX 3  // AVX512-VNNI at half its width: the same table on machines without AVX-VNNI
#define GANNET_SDOT_128 4       // SDOT of NEON, s8 * s8
