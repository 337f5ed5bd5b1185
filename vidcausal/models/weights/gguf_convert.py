"""GGUF to a plain Hugging Face folder: dequantized once, loaded ever after like any other model.

transformers reads GGUF itself but keeps the weights packed (1 to 4 tokens a second on a CPU, no saving), so the tensors
are turned into bfloat16 here. Layout of names and the order of the rotary halves follow llama.cpp's
``convert_hf_to_gguf.py``, whose llama branch permutes q and k; qwen2 is stored as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vidcausal.errors import WeightsError, WeightsIntegrityError

if TYPE_CHECKING:
    import torch

_TOP = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_BLOCK = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
_ARCHITECTURES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM"}


def gguf_to_folder(source: Path, folder: Path) -> None:
    """Write ``config.json``, ``model.safetensors`` (bfloat16) and the tokenizer of a GGUF file into ``folder``.

    Raises:
        WeightsError: an architecture or a tensor that is not known.
        WeightsIntegrityError: the file cannot be read.
    """
    from safetensors.torch import save_file

    fields, tensors = _read(source)
    config = _config(fields, tensors)
    folder.mkdir(parents=True, exist_ok=True)
    state = {_hf_name(name): _tensor(name, value, config) for name, value in tensors.items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    config.save_pretrained(folder)
    _save_tokenizer(source, folder, config)


def _read(source: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    import gguf

    try:
        reader = gguf.GGUFReader(source)
        fields = {
            key: field.contents() for key, field in reader.fields.items() if not key.startswith("tokenizer.ggml.t")
        }
    except (ValueError, IndexError, OSError, KeyError) as error:
        raise WeightsIntegrityError(f"{source.name} cannot be read as GGUF: {error}; get it again") from error
    return fields, {tensor.name: tensor for tensor in reader.tensors}


def _config(fields: Mapping[str, Any], tensors: Mapping[str, Any]) -> Any:
    """The transformers configuration that the header describes."""
    from transformers import LlamaConfig, Qwen2Config

    arch = fields["general.architecture"]
    if arch not in _ARCHITECTURES:
        raise WeightsError(f"GGUF architecture {arch!r} is not known; known: {', '.join(_ARCHITECTURES)}")
    if (scaling := fields.get(f"{arch}.rope.scaling.type", "none")) != "none":
        raise WeightsError(f"GGUF files with rope scaling {scaling!r} are not supported; use the original model folder")
    heads = int(fields[f"{arch}.attention.head_count"])
    width = int(fields[f"{arch}.embedding_length"])
    shared = {
        "architectures": [_ARCHITECTURES[arch]],
        "vocab_size": int(tensors["token_embd.weight"].shape[1]),
        "hidden_size": width,
        "intermediate_size": int(fields[f"{arch}.feed_forward_length"]),
        "num_hidden_layers": int(fields[f"{arch}.block_count"]),
        "num_attention_heads": heads,
        "num_key_value_heads": int(fields.get(f"{arch}.attention.head_count_kv", heads)),
        "max_position_embeddings": int(fields[f"{arch}.context_length"]),
        "rms_norm_eps": float(fields[f"{arch}.attention.layer_norm_rms_epsilon"]),
        "rope_parameters": {"rope_type": "default", "rope_theta": float(fields.get(f"{arch}.rope.freq_base", 10000.0))},
        "tie_word_embeddings": "output.weight" not in tensors,
        "bos_token_id": _token_id(fields, "bos"),
        "eos_token_id": _token_id(fields, "eos"),
        "pad_token_id": _token_id(fields, "padding"),
        "dtype": "bfloat16",
    }
    if arch == "qwen2":
        return Qwen2Config(**shared)
    return LlamaConfig(**shared, head_dim=int(fields.get(f"{arch}.attention.key_length", width // heads)))


def _token_id(fields: Mapping[str, Any], kind: str) -> int | None:
    value = fields.get(f"tokenizer.ggml.{kind}_token_id")
    return None if value is None else int(value)


def _hf_name(name: str) -> str:
    if name in _TOP:
        return _TOP[name]
    if (match := re.fullmatch(r"blk\.(\d+)\.(\w+)\.(weight|bias)", name)) and match[2] in _BLOCK:
        return f"model.layers.{match[1]}.{_BLOCK[match[2]]}.{match[3]}"
    raise WeightsError(f"the GGUF file has a tensor {name!r} that a llama or qwen2 model does not have")


def _tensor(name: str, tensor: Any, config: Any) -> torch.Tensor:
    """One tensor as bfloat16, ``[out, in]``."""
    import torch
    from gguf.quants import dequantize

    value: NDArray[np.float32] = dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False)
    if config.model_type == "llama" and ".attn_q." in name:
        value = unpermute(value, config.num_attention_heads)
    elif config.model_type == "llama" and ".attn_k." in name:
        value = unpermute(value, config.num_key_value_heads)
    return torch.from_numpy(np.require(value, requirements=("C", "W"))).to(torch.bfloat16)


def unpermute(value: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """A llama.cpp q or k matrix ``[heads * d, ...]`` (rotary pairs interleaved) in Hugging Face's row order."""
    paired = value.reshape(heads, value.shape[0] // heads // 2, 2, *value.shape[1:])
    return paired.swapaxes(1, 2).reshape(value.shape)


def _save_tokenizer(source: Path, folder: Path, config: Any) -> None:
    from transformers import AutoTokenizer, GenerationConfig

    tokenizer = AutoTokenizer.from_pretrained(str(source.parent), gguf_file=source.name, local_files_only=True)
    tokenizer.save_pretrained(folder)
    ends = GenerationConfig(
        bos_token_id=config.bos_token_id, eos_token_id=config.eos_token_id, pad_token_id=config.pad_token_id
    )
    ends.save_pretrained(folder)
