// Compiles GANNET_VNNI_FILE for each instruction set with VNNI, or SDOT, beside the one around it, then
// GANNET_VNNI_EXPORT(suffix, namespace). Included at the end of a file that Highway compiles for each target.
#if HWY_TARGET == HWY_AVX3
HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR_AVX3 ",avx512vnni")
namespace gannet::HWY_NAMESPACE {
namespace vnni {
namespace {
#define GANNET_INT8_VNNI GANNET_VNNI_512
#include GANNET_VNNI_FILE
#undef GANNET_INT8_VNNI
}  // namespace
}  // namespace vnni
GANNET_VNNI_EXPORT(Vnni, vnni)
#ifdef GANNET_WITH_AMX  // whose table shares what it does not do itself
namespace amx {
namespace {
#define GANNET_INT8_VNNI GANNET_VNNI_512
#define GANNET_INT8_AMX
#include GANNET_VNNI_FILE
#undef GANNET_INT8_AMX
#undef GANNET_INT8_VNNI
}  // namespace
}  // namespace amx
GANNET_VNNI_EXPORT(Amx, amx)
#endif
}  // namespace gannet::HWY_NAMESPACE
HWY_POP_ATTRIBUTES

#elif HWY_TARGET == HWY_AVX2 && GANNET_HAS_AVX_VNNI
HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR_AVX2 ",avxvnni")
namespace gannet::HWY_NAMESPACE {
namespace vnni {
namespace {
#define GANNET_INT8_VNNI GANNET_VNNI_256_VEX
#include GANNET_VNNI_FILE
#undef GANNET_INT8_VNNI
}  // namespace
}  // namespace vnni
GANNET_VNNI_EXPORT(Vnni, vnni)
}  // namespace gannet::HWY_NAMESPACE
HWY_POP_ATTRIBUTES

HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR_AVX2 ",avx512f,avx512vl,avx512vnni")
namespace gannet::HWY_NAMESPACE {
namespace evex {
namespace {
#define GANNET_INT8_VNNI GANNET_VNNI_256_EVEX
#include GANNET_VNNI_FILE
#undef GANNET_INT8_VNNI
}  // namespace
}  // namespace evex
GANNET_VNNI_EXPORT(Evex, evex)
}  // namespace gannet::HWY_NAMESPACE
HWY_POP_ATTRIBUTES

#elif HWY_TARGET == HWY_NEON
HWY_PUSH_ATTRIBUTES("arch=armv8.2-a+crypto+dotprod")
namespace gannet::HWY_NAMESPACE {
namespace sdot {
namespace {
#define GANNET_INT8_VNNI GANNET_SDOT_128
#include GANNET_VNNI_FILE
#undef GANNET_INT8_VNNI
}  // namespace
}  // namespace sdot
GANNET_VNNI_EXPORT(Sdot, sdot)
}  // namespace gannet::HWY_NAMESPACE
HWY_POP_ATTRIBUTES
#endif
