"""Put projected vision features where the prompt has slots for them.

Letters: b batch, s sequence, n features of the whole batch, d width.
"""

from __future__ import annotations

from torch import Tensor


def splice(input_ids: Tensor, embeddings: Tensor, features: Tensor, slot_id: int) -> Tensor:
    """Embeddings with the features in the slots, in reading order.

    Args:
        input_ids: int64 ``[b, s]``.
        embeddings: ``[b, s, d]``; what stands in a slot is ignored.
        features: ``[n, d]`` or ``[b, m, d]``.
        slot_id: the token id that stands for one feature.

    Returns:
        ``[b, s, d]``, a new tensor; gradients reach both ``embeddings`` and ``features``.

    Raises:
        ValueError: the numbers of slots and of features differ, or the widths do.
    """
    if embeddings.shape[:2] != input_ids.shape:
        raise ValueError(f"one embedding a token: ids are {list(input_ids.shape)}, {list(embeddings.shape) = }")
    width = embeddings.shape[-1]
    if features.shape[-1] != width:
        raise ValueError(f"features are {features.shape[-1]} wide, the language model {width}; check the projector")
    flat = features.reshape(-1, width)
    places = input_ids == slot_id
    wanted = int(places.sum())
    if wanted != flat.shape[0]:
        raise ValueError(
            f"the prompt has {wanted} slots (token id {slot_id}) but there are {flat.shape[0]} projected "
            "features; put exactly one slot for each feature"
        )
    if features.ndim == 3 and bool((places.sum(dim=1) != features.shape[1]).any()):
        raise ValueError(
            f"each prompt of the batch needs {features.shape[1]} slots (token id {slot_id}), "
            f"got {places.sum(dim=1).tolist()}"
        )
    return embeddings.masked_scatter(places[..., None], flat.to(embeddings.dtype))
