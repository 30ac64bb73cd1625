// The 4-bit floats of the Open Compute Project, OCP MX 1.0 (E2M1).
#pragma once

namespace gannet {

inline constexpr float kE2M1[16] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6};

}  // namespace gannet
