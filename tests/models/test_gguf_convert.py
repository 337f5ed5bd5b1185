"""GGUF files turned into plain folders give the numbers of the model that was written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vidcausal.errors import WeightsError, WeightsIntegrityError
from vidcausal.models.weights.gguf_convert import gguf_to_folder, unpermute

gguf = pytest.importorskip("gguf")

_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def permute(value: np.ndarray, heads: int) -> np.ndarray:
    """As llama.cpp's converter lays out q and k of llama models."""
    return value.reshape(heads, 2, value.shape[0] // heads // 2, *value.shape[1:]).swapaxes(1, 2).reshape(value.shape)


def gguf_name(name: str) -> str:
    top = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    stem, _, kind = name.rpartition(".")
    if stem in top:
        return f"{top[stem]}.{kind}"
    _, _, layer, rest = stem.split(".", 3)
    return f"blk.{layer}.{_NAMES[rest]}.{kind}"


def write_gguf(path: Path, model: Any, tokenizer: Any, *, arch: str, quantize: bool = False, extra: str = "") -> None:
    config = model.config
    writer = gguf.GGUFWriter(path, arch)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if t.startswith("<|") else 1 for t in tokens])
    writer.add_token_merges(["t h", "h e"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
    writer.add_chat_template(tokenizer.chat_template)
    state = dict(model.state_dict())
    if config.tie_word_embeddings:
        state.pop("lm_head.weight", None)
    for name, tensor in state.items():
        value = tensor.float().numpy()
        if arch == "llama" and "q_proj" in name:
            value = permute(value, config.num_attention_heads)
        if arch == "llama" and "k_proj" in name:
            value = permute(value, config.num_key_value_heads)
        kind = gguf.GGMLQuantizationType.Q8_0 if quantize and value.ndim == 2 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(gguf_name(name), gguf.quants.quantize(value, kind), raw_dtype=kind)
    if extra:
        writer.add_tensor(extra, np.zeros(4, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def logits(model: Any) -> torch.Tensor:
    ids = torch.arange(3, 60)[None]
    with torch.inference_mode():
        return model.float().eval()(ids).logits


@pytest.mark.parametrize("arch", ["llama", "qwen2"])
def test_a_converted_model_computes_the_same(
    tmp_path: Path, arch: str, make_tiny_model: Any, make_byte_tokenizer: Any
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    original, tokenizer = make_tiny_model(arch), make_byte_tokenizer()
    write_gguf(tmp_path / "tiny.gguf", original, tokenizer, arch=arch)
    gguf_to_folder(tmp_path / "tiny.gguf", tmp_path / "plain")
    converted = AutoModelForCausalLM.from_pretrained(tmp_path / "plain", dtype=torch.float32)
    # The weights are exact in bfloat16, so nothing but the order of sums may differ.
    torch.testing.assert_close(logits(converted), logits(original), rtol=1e-5, atol=1e-4)
    read = AutoTokenizer.from_pretrained(tmp_path / "plain")
    text = "<|im_start|>user\nthe tap<|im_end|>\n"
    assert read(text)["input_ids"] == tokenizer(text)["input_ids"]
    messages = [{"role": "user", "content": "the hat"}]
    assert read.apply_chat_template(messages, tokenize=False) == tokenizer.apply_chat_template(messages, tokenize=False)
    assert converted.config.eos_token_id == 2


def test_quantized_weights_are_dequantized(tmp_path: Path, make_tiny_model: Any, make_byte_tokenizer: Any) -> None:
    from safetensors.torch import load_file

    original = make_tiny_model()
    write_gguf(tmp_path / "tiny.gguf", original, make_byte_tokenizer(), arch="llama", quantize=True)
    gguf_to_folder(tmp_path / "tiny.gguf", tmp_path / "plain")
    state = load_file(tmp_path / "plain" / "model.safetensors")
    for name, value in original.state_dict().items():
        if name == "lm_head.weight":
            assert name not in state
            continue
        # Q8_0 keeps blocks of 32 numbers to 1/127 of their largest, bfloat16 keeps 8 bits.
        assert state[name].dtype == torch.bfloat16
        assert float((state[name].float() - value).abs().max()) <= float(value.abs().max()) * (0.5 / 127 + 1 / 256)


def test_unpermute_is_the_inverse() -> None:
    value = np.arange(24 * 5, dtype=np.float32).reshape(24, 5)
    np.testing.assert_array_equal(unpermute(permute(value, 3), 3), value)
    assert not np.array_equal(permute(value, 3), value)


def test_unknown_tensors_architectures_and_broken_files_are_refused(
    tmp_path: Path, make_tiny_model: Any, make_byte_tokenizer: Any
) -> None:
    write_gguf(
        tmp_path / "a.gguf", make_tiny_model(), make_byte_tokenizer(), arch="llama", extra="blk.0.ffn_gate_exps.weight"
    )
    with pytest.raises(WeightsError, match="ffn_gate_exps"):
        gguf_to_folder(tmp_path / "a.gguf", tmp_path / "x")
    write_gguf(tmp_path / "b.gguf", make_tiny_model(), make_byte_tokenizer(), arch="mamba")
    with pytest.raises(WeightsError, match="architecture 'mamba'"):
        gguf_to_folder(tmp_path / "b.gguf", tmp_path / "x")
    (tmp_path / "c.gguf").write_bytes(b"GGUF" + b"\0" * 20)
    with pytest.raises(WeightsIntegrityError, match=r"c\.gguf cannot be read"):
        gguf_to_folder(tmp_path / "c.gguf", tmp_path / "x")
