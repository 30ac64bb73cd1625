#include <algorithm>
#include <cmath>

#include "kernels/reference/reference.h"

namespace gannet::reference {
namespace {

double Sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

}  // namespace

double Activated(const ActivationSpec& activation, double gate, double up) {
  const double limit = activation.limit;
  switch (activation.kind) {
    case Activation::kSilu:
      return gate * Sigmoid(gate) * up;
    case Activation::kClampedSilu:
      return std::min(gate * Sigmoid(gate), limit) * std::clamp(up, -limit, limit);
    case Activation::kClampedSwiglu: {
      const double g = std::min(gate, limit);
      return g * Sigmoid(activation.alpha * g) * (std::clamp(up, -limit, limit) + 1);
    }
    case Activation::kSigmoid:
      return Sigmoid(gate) * up;
    case Activation::kScaledSoftsign:
      return 2 * gate / (1 + std::abs(gate)) * up;
    case Activation::kShiftedSoftsign:
      return (gate / (1 + std::abs(gate)) + 1) / 2 * up;
  }
  return 0;
}

void RmsNorm(const RmsNormArgs& args, ThreadPool&) {
  for (int64_t row = 0; row < args.rows; ++row) {
    for (int64_t group = 0; group < args.groups; ++group) {
      const float* x = args.x + row * args.x_stride + group * args.dim;
      float* out = args.out + row * args.out_stride + group * args.dim;
      double squares = 0;
      for (int64_t i = 0; i < args.dim; ++i) squares += static_cast<double>(x[i]) * x[i];
      const double scale = 1.0 / std::sqrt(squares / static_cast<double>(args.dim) + args.epsilon);
      for (int64_t i = 0; i < args.dim; ++i) out[i] = static_cast<float>(x[i] * scale * args.weight[i]);
    }
  }
}

void Rope(const RopeArgs& args, ThreadPool&) {
  const int64_t pairs = args.dims / 2;
  const bool halves = args.pairing == RopePairing::kHalves;
  for (int64_t row = 0; row < args.rows; ++row) {
    for (int64_t head = 0; head < args.heads; ++head) {
      float* x = args.x + row * args.x_stride + head * args.head_dim + args.offset;
      for (int64_t i = 0; i < pairs; ++i) {
        float& first = x[halves ? i : 2 * i];
        float& second = x[halves ? i + pairs : 2 * i + 1];
        const double c = args.cos[row * pairs + i];
        const double s = args.sin[row * pairs + i];
        const double turned = first * c - second * s;
        second = static_cast<float>(second * c + first * s);
        first = static_cast<float>(turned);
      }
    }
  }
}

void GatedActivation(const GatedActivationArgs& args, ThreadPool&) {
  for (int64_t row = 0; row < args.rows; ++row) {
    for (int64_t i = 0; i < args.width; ++i) {
      const double gate = args.gate[row * args.gate_stride + i / args.gate_repeat];
      const double up = args.up[row * args.up_stride + i];
      args.out[row * args.out_stride + i] = static_cast<float>(Activated(args.activation, gate, up));
    }
  }
}

}  // namespace gannet::reference

namespace gannet {

const Kernels& ReferenceKernels() {
  static constexpr Kernels kTable = {
      "reference",        reference::Pack,           reference::PackTransposed, reference::Matmul,
      reference::StoreKv, reference::Attention,      reference::ChooseKeys,     reference::RmsNorm,
      reference::Rope,    reference::GatedActivation};
  return kTable;
}

}  // namespace gannet
