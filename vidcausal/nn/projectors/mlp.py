"""The plain connector: every patch becomes a token (LLaVA-1.5), after optional average pooling on the patch grid."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional as F

from vidcausal.nn.feed_forward import FeedForward, init_weights
from vidcausal.nn.projectors.base import FrameByFrameStream, ProjectedTokens, Projector, own_frame_tokens


class MLPProjector(Projector):
    """Norm-free two-layer perceptron on each patch; frames do not look at one another, so it is causal as it stands.

    Args:
        vision_dim: width of the features.
        output_dim: width of the language model.
        intermediate_dim: hidden width, None for ``output_dim``.
        activation: of the hidden layer.
        pool: average ``pool x pool`` patches first; the patch grid must be square (no class token). A border that does
            not fill a window is averaged over what is there.
    """

    def __init__(
        self,
        vision_dim: int,
        output_dim: int,
        *,
        intermediate_dim: int | None = None,
        activation: str = "gelu",
        pool: int = 1,
    ) -> None:
        super().__init__(vision_dim, output_dim)
        if pool < 1:
            raise ValueError(f"pool must be at least 1, got {pool}")
        self.pool = pool
        self.mlp = FeedForward(vision_dim, intermediate_dim or output_dim, output_dim, activation=activation)
        init_weights(self)

    def extra_repr(self) -> str:
        """Settings that no submodule shows."""
        return f"pool={self.pool}"

    def tokens_per_frame(self, patches_per_frame: int) -> int:
        """One a patch, or one a window of patches."""
        return patches_per_frame if self.pool == 1 else math.ceil(self._side(patches_per_frame) / self.pool) ** 2

    def num_tokens(self, num_frames: int, patches_per_frame: int) -> int:
        """Grows with frames and patches."""
        return num_frames * self.tokens_per_frame(patches_per_frame)

    def project(self, features: Tensor, pts_seconds: Tensor, frame_mask: Tensor | None = None) -> ProjectedTokens:
        """See :meth:`Projector.project`."""
        features = self.check_features(features, pts_seconds, frame_mask)
        if self.pool > 1:
            features = self._pooled(features)
        return own_frame_tokens(self.mlp(features), frame_mask)

    def stream(self, num_frames: int | None = None) -> FrameByFrameStream:
        """Nothing is kept between frames."""
        return FrameByFrameStream(self)

    def _pooled(self, features: Tensor) -> Tensor:
        b, t, p, _ = features.shape
        side = self._side(p)
        grid = features.flatten(0, 1).transpose(1, 2).reshape(b * t, -1, side, side)  # [b * t, d_v, side, side]
        pooled = F.avg_pool2d(grid, self.pool, ceil_mode=True, count_include_pad=False)
        return pooled.flatten(2).transpose(1, 2).reshape(b, t, -1, self.vision_dim)

    @staticmethod
    def _side(patches: int) -> int:
        side = math.isqrt(patches)
        if side * side != patches:
            raise ValueError(f"pooling needs a square grid of patches without a class token, got {patches} patches")
        return side
