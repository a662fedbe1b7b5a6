"""Diffusers' own video pipelines, real classes with tiny random weights: made on the spot, saved as their publishers save them."""

from __future__ import annotations

import gc
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache as once
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import pytest
import sentencepiece
import torch
import transformers
from diffusers.pipelines.ltx.modeling_latent_upsampler import LTXLatentUpsamplerModel

from unstrung.models.device import bf16_is_fast
from unstrung.models.hub import CARDS
from unstrung.models.hub.families import CONTROL, EXTEND, FIRST_LAST, IMAGE, KEYFRAMES, TEXT, VIDEO
from unstrung.request import Condition

# steps of 255 by which the same film may differ where sums are made in another order: in sixteen bits that is more
NEAR = 6 if bf16_is_fast("cpu") else 1
WORDS = "a red fox running through the snow at night the sea under a blue sky with two small houses and one tall tree".split()


@once
def pieces() -> bytes:
    """What a tokenizer learns of a few words."""
    sentences = [" ".join(WORDS[i:] + WORDS[:i]) for i in range(len(WORDS))] * 20
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_writer=model, vocab_size=60, model_type="unigram", pad_id=0, eos_id=1,
        unk_id=2, bos_id=-1, minloglevel=2, hard_vocab_limit=False,
    )  # fmt: skip
    return model.getvalue()


def t5_tokenizer(folder: Path) -> Any:
    """A tokenizer of T5's kind."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spiece.model").write_bytes(pieces())
    return transformers.T5Tokenizer.from_pretrained(folder)


def t5(width: int = 32) -> Any:
    config = transformers.T5Config(vocab_size=128, d_model=width, d_kv=8, d_ff=64, num_layers=2, num_heads=4)
    return transformers.T5EncoderModel(config).eval()


def umt5(width: int = 32) -> Any:
    config = transformers.UMT5Config(vocab_size=128, d_model=width, d_kv=8, d_ff=64, num_layers=2, num_heads=4)
    return transformers.UMT5EncoderModel(config).eval()


def clip_vision(width: int = 32) -> tuple[Any, Any]:
    config = transformers.CLIPVisionConfig(
        hidden_size=width, projection_dim=width, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4, image_size=32,
        patch_size=8,
    )  # fmt: skip
    size = {"height": 32, "width": 32}
    return transformers.CLIPVisionModel(config).eval(), transformers.CLIPImageProcessor(crop_size=size, size=size)


def cogvideox(folder: Path, *, image: bool = False, generation: str = "2b") -> Any:
    """Of 2B, 5B or 1.5: each counts places in its own way, and in 1.5 a token stands for two latents, one after the other."""
    torch.manual_seed(["2b", "5b", "1.5"].index(generation))  # the same weights would be the same model to whoever keeps by them
    fixed = image and generation == "5b"  # it has learned its places, at one size
    width, height, channels = (90, 60, 2) if fixed else (8, 8, 8)
    more: dict[str, Any] = {
        "2b": {"sample_frames": 9},
        "5b": {"sample_frames": 9, "use_rotary_positional_embeddings": True, "use_learned_positional_embeddings": image},
        "1.5": {
            "sample_frames": 81, "use_rotary_positional_embeddings": True, "patch_size_t": 2, "patch_bias": False,
            **({"ofs_embed_dim": 8} if image else {}),
        },
    }[generation]  # fmt: skip
    transformer = diffusers.CogVideoXTransformer3DModel(
        num_attention_heads=2, attention_head_dim=16, in_channels=32 if image else 16, out_channels=16, time_embed_dim=8,
        text_embed_dim=32, num_layers=2, sample_width=width, sample_height=height, patch_size=2, temporal_compression_ratio=4,
        max_text_seq_length=226, **more,
    )  # fmt: skip
    vae = diffusers.AutoencoderKLCogVideoX(
        in_channels=3, out_channels=3, latent_channels=16, block_out_channels=(channels,) * 4, layers_per_block=1,
        norm_num_groups=2, temporal_compression_ratio=4, sample_height=8 * height, sample_width=8 * width,
        down_block_types=("CogVideoXDownBlock3D",) * 4, up_block_types=("CogVideoXUpBlock3D",) * 4,
        scaling_factor=1.15258426 if generation == "2b" else 0.7, invert_scale_latents=generation == "1.5",
    )  # fmt: skip
    made = diffusers.CogVideoXImageToVideoPipeline if image else diffusers.CogVideoXPipeline
    sampler = diffusers.CogVideoXDDIMScheduler if generation == "2b" else diffusers.CogVideoXDPMScheduler
    scheduler = sampler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, prediction_type="v_prediction",
        rescale_betas_zero_snr=True, snr_shift_scale=3.0 if generation == "2b" else 1.0, timestep_spacing="trailing",
        set_alpha_to_one=True,
    )  # fmt: skip
    return made(t5_tokenizer(folder), t5(), vae.eval(), transformer.eval(), scheduler)


def mochi(folder: Path) -> Any:
    torch.manual_seed(0)
    transformer = diffusers.MochiTransformer3DModel(
        patch_size=2, num_attention_heads=2, attention_head_dim=8, num_layers=2, pooled_projection_dim=16, in_channels=12,
        out_channels=None, qk_norm="rms_norm", text_embed_dim=32, time_embed_dim=4, activation_fn="swiglu",
        max_sequence_length=256,
    )  # fmt: skip
    vae = diffusers.AutoencoderKLMochi(
        latent_channels=12, out_channels=3, encoder_block_out_channels=(32, 32, 32, 32), decoder_block_out_channels=(32, 32, 32, 32),
        layers_per_block=(1, 1, 1, 1, 1),
    )  # fmt: skip
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(invert_sigmas=True)
    return diffusers.MochiPipeline(scheduler, vae.eval(), t5(), t5_tokenizer(folder), transformer.eval())


def ltx(folder: Path, *, conditions: bool = False) -> Any:
    torch.manual_seed(0)
    transformer = diffusers.LTXVideoTransformer3DModel(
        in_channels=128, out_channels=128, patch_size=1, patch_size_t=1, num_attention_heads=6, attention_head_dim=8,
        cross_attention_dim=48, num_layers=2, caption_channels=32,
    )  # fmt: skip
    vae = diffusers.AutoencoderKLLTXVideo(
        in_channels=3, out_channels=3, latent_channels=128, block_out_channels=(8, 8, 8, 8), decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1, 1, 1, 1, 1), decoder_layers_per_block=(1, 1, 1, 1, 1),
        spatio_temporal_scaling=(True, True, True, False), decoder_spatio_temporal_scaling=(True, True, True, False),
        patch_size=4, patch_size_t=1, timestep_conditioning=conditions,
    )  # fmt: skip
    made = diffusers.LTXConditionPipeline if conditions else diffusers.LTXPipeline
    return made(diffusers.FlowMatchEulerDiscreteScheduler(), vae.eval(), t5(), t5_tokenizer(folder), transformer.eval())


def ltx_upsampler(vae: Any) -> Any:
    """What doubles the latents of an LTX; saved with a VAE of its own, as the published one is."""
    torch.manual_seed(1)
    model = LTXLatentUpsamplerModel(in_channels=128, mid_channels=32, num_blocks_per_stage=1)
    return diffusers.LTXLatentUpsamplePipeline(vae, model.eval())


def wan_vae(channels: int, large: bool = False) -> Any:
    more: dict[str, Any] = {}
    if large:  # as 2.2's of 5 billion: 16 pixels a latent
        more = {
            "in_channels": 12,
            "out_channels": 12,
            "patch_size": 2,
            "scale_factor_spatial": 16,
            "is_residual": True,
            "decoder_base_dim": 2,
        }
    vae = diffusers.AutoencoderKLWan(
        base_dim=2, z_dim=channels, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True],
        latents_mean=[0.0] * channels, latents_std=[1.0] * channels, **more,
    )  # fmt: skip
    return vae.eval()


def wan_transformer(channels_in: int, channels_out: int, **more: Any) -> Any:
    return diffusers.WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=12, in_channels=channels_in, out_channels=channels_out,
        text_dim=32, freq_dim=256, ffn_dim=32, num_layers=2, cross_attn_norm=True, qk_norm="rms_norm_across_heads",
        rope_max_seq_len=64, **more,
    ).eval()  # fmt: skip


def _unipc() -> Any:
    return diffusers.UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)


def wan(folder: Path) -> Any:
    torch.manual_seed(0)
    return diffusers.WanPipeline(
        tokenizer=t5_tokenizer(folder),
        text_encoder=umt5(),
        vae=wan_vae(16),
        scheduler=_unipc(),
        transformer=wan_transformer(16, 16),
    )


def wan_image(folder: Path, *, last: bool = False) -> Any:
    torch.manual_seed(0)
    encoder, processor = clip_vision()
    more = {"image_dim": 32, "added_kv_proj_dim": 24, **({"pos_embed_seq_len": 2 * (16 + 1)} if last else {})}
    return diffusers.WanImageToVideoPipeline(
        tokenizer=t5_tokenizer(folder), text_encoder=umt5(), vae=wan_vae(16), scheduler=_unipc(), image_encoder=encoder,
        image_processor=processor, transformer=wan_transformer(36, 16, **more),
    )  # fmt: skip


def wan_experts(folder: Path, *, image: bool = False) -> Any:
    torch.manual_seed(0)
    made = diffusers.WanImageToVideoPipeline if image else diffusers.WanPipeline
    first, second = (wan_transformer(36 if image else 16, 16) for _ in range(2))
    return made(
        tokenizer=t5_tokenizer(folder), text_encoder=umt5(), vae=wan_vae(16), scheduler=_unipc(), transformer=first,
        transformer_2=second, boundary_ratio=0.875,
    )  # fmt: skip


def wan_5b(folder: Path) -> Any:
    torch.manual_seed(0)
    return diffusers.WanPipeline(
        tokenizer=t5_tokenizer(folder), text_encoder=umt5(), vae=wan_vae(48, large=True), scheduler=_unipc(),
        transformer=wan_transformer(48, 48), expand_timesteps=True,
    )  # fmt: skip


def wan_vace(folder: Path) -> Any:
    torch.manual_seed(0)
    transformer = diffusers.WanVACETransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=12, in_channels=16, out_channels=16, text_dim=32,
        freq_dim=256, ffn_dim=32, num_layers=2, cross_attn_norm=True, qk_norm="rms_norm_across_heads", rope_max_seq_len=64,
        vace_layers=[0], vace_in_channels=96,
    )  # fmt: skip
    return diffusers.WanVACEPipeline(
        tokenizer=t5_tokenizer(folder), text_encoder=umt5(), vae=wan_vae(16), scheduler=_unipc(), transformer=transformer.eval()
    )


def skyreels(folder: Path, *, forcing: bool = False, image: bool = False) -> Any:
    torch.manual_seed(0)
    transformer = diffusers.SkyReelsV2Transformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=12, in_channels=36 if image else 16, out_channels=16,
        text_dim=32, freq_dim=256, ffn_dim=32, num_layers=2, cross_attn_norm=True, qk_norm="rms_norm_across_heads",
        rope_max_seq_len=64, **({"image_dim": 32, "added_kv_proj_dim": 24} if image else {}),
    )  # fmt: skip
    parts = {
        "tokenizer": t5_tokenizer(folder), "text_encoder": umt5(), "vae": wan_vae(16), "transformer": transformer.eval(),
        "scheduler": diffusers.UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=8.0),
    }  # fmt: skip
    if image:
        encoder, processor = clip_vision()
        return diffusers.SkyReelsV2ImageToVideoPipeline(image_encoder=encoder, image_processor=processor, **parts)
    made = diffusers.SkyReelsV2DiffusionForcingPipeline if forcing else diffusers.SkyReelsV2Pipeline
    return made(**parts)


def helios(folder: Path, *, sizes: int = 1, distilled: bool = False) -> Any:
    torch.manual_seed(0)
    transformer = diffusers.HeliosTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=12, in_channels=16, out_channels=16, text_dim=32,
        freq_dim=256, ffn_dim=32, num_layers=2, rope_dim=(4, 4, 4), has_multi_term_memory_patch=True,
    )  # fmt: skip
    parts = {"tokenizer": t5_tokenizer(folder), "text_encoder": umt5(), "vae": wan_vae(16), "transformer": transformer.eval()}
    if sizes == 1:
        scheduler = diffusers.HeliosScheduler(stage_range=[0, 1], stages=1, use_dynamic_shifting=True)
        return diffusers.HeliosPipeline(scheduler=scheduler, **parts)
    made = diffusers.HeliosDMDScheduler if distilled else diffusers.HeliosScheduler
    return diffusers.HeliosPyramidPipeline(
        scheduler=made(stages=sizes, use_dynamic_shifting=True), is_distilled=distilled, is_cfg_zero_star=not distilled, **parts
    )


def sana(folder: Path, *, image: bool = False) -> Any:
    torch.manual_seed(0)
    transformer = diffusers.SanaVideoTransformer3DModel(
        in_channels=16, out_channels=16, num_attention_heads=2, attention_head_dim=12, num_layers=2, num_cross_attention_heads=2,
        cross_attention_head_dim=12, cross_attention_dim=24, caption_channels=8, mlp_ratio=2.5, sample_size=8,
        patch_size=(1, 2, 2), qk_norm="rms_norm_across_heads", rope_max_seq_len=32,
    )  # fmt: skip
    encoder = transformers.Gemma2Model(
        transformers.Gemma2Config(
            head_dim=16, hidden_size=8, intermediate_size=64, num_attention_heads=2, num_hidden_layers=1, num_key_value_heads=2,
            vocab_size=128, attn_implementation="eager",
        )
    )  # fmt: skip
    made = diffusers.SanaImageToVideoPipeline if image else diffusers.SanaVideoPipeline
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=8.0)
    return made(t5_tokenizer(folder), encoder.eval(), wan_vae(16), transformer.eval(), scheduler)


def bpe(folder: Path, made: Any, **more: Any) -> Any:
    """A tokenizer of the kind that CLIP and Qwen have, of the bytes alone."""
    from tokenizers.pre_tokenizers import ByteLevel

    vocab = {letter: i for i, letter in enumerate(sorted(ByteLevel.alphabet()))}
    if made is transformers.CLIPTokenizer:
        vocab |= {f"{letter}</w>": len(vocab) + i for i, letter in enumerate(sorted(ByteLevel.alphabet()))}
        vocab |= {"<|startoftext|>": len(vocab), "<|endoftext|>": len(vocab) + 1}
    else:
        vocab |= {"<|endoftext|>": len(vocab), "<|im_start|>": len(vocab) + 1, "<|im_end|>": len(vocab) + 2}
    return made(vocab=vocab, merges=[], **more)


CHAT = "{% for m in messages %}<|im_start|>{{ m['role'] }} {% if m['content'] is string %}{{ m['content'] }}{% else %}{{ m['content'][0]['text'] }}{% endif %}<|im_end|>{% endfor %}"


def qwen() -> Any:
    text = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2,
        "rope_scaling": {"mrope_section": [1, 1, 2], "rope_type": "default", "type": "default"}, "rope_theta": 1000000.0,
        "vocab_size": 512, "max_position_embeddings": 4096,
    }  # fmt: skip
    vision = {
        "depth": 2, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16, "patch_size": 14,
        "fullatt_block_indexes": [1],
    }  # fmt: skip
    return transformers.Qwen2_5_VLConfig(text_config=text, vision_config=vision)


def hunyuan15(folder: Path, *, image: bool = False) -> Any:
    torch.manual_seed(0)
    transformer = diffusers.HunyuanVideo15Transformer3DModel(
        in_channels=9, out_channels=4, num_attention_heads=2, attention_head_dim=8, num_layers=2, num_refiner_layers=1,
        mlp_ratio=2.0, patch_size=1, patch_size_t=1, text_embed_dim=16, text_embed_2_dim=32, image_embed_dim=32,
        rope_axes_dim=(2, 2, 4), target_size=64, task_type="i2v" if image else "t2v",
    )  # fmt: skip
    vae = diffusers.AutoencoderKLHunyuanVideo15(
        latent_channels=4, block_out_channels=(16, 16, 16, 16, 16), layers_per_block=1, spatial_compression_ratio=16,
        temporal_compression_ratio=4, downsample_match_channel=False, upsample_match_channel=False,
    )  # fmt: skip
    parts = {
        "text_encoder": transformers.Qwen2_5_VLTextModel(qwen().text_config).eval(),
        "tokenizer": bpe(folder, transformers.Qwen2Tokenizer, chat_template=CHAT), "transformer": transformer.eval(),
        "vae": vae.eval(), "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(shift=7.0),
        "text_encoder_2": t5(32), "tokenizer_2": transformers.ByT5Tokenizer(),
        "guider": diffusers.ClassifierFreeGuidance(guidance_scale=6.0),
    }  # fmt: skip
    parts["text_encoder_2"] = transformers.T5EncoderModel(
        transformers.T5Config(vocab_size=384, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4)
    ).eval()
    if not image:
        return diffusers.HunyuanVideo15Pipeline(**parts)
    encoder = transformers.SiglipVisionModel(
        transformers.SiglipVisionConfig(
            hidden_size=32, intermediate_size=37, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=8
        )
    )
    size = {"height": 32, "width": 32}
    return diffusers.HunyuanVideo15ImageToVideoPipeline(
        **parts, image_encoder=encoder.eval(), feature_extractor=transformers.SiglipImageProcessor(size=size)
    )


def kandinsky5(folder: Path, *, image: bool = False, pro: bool = False) -> Any:
    """The lite ones, or the pro one, whose tokens look at blocks of others."""
    torch.manual_seed(0)
    attention: dict[str, Any] = {"attention_type": "regular"}
    if pro:
        attention = {
            "attention_type": "nabla", "attention_causal": False, "attention_local": False, "attention_glob": False,
            "attention_window": 3, "attention_P": 0.9, "attention_wT": 11, "attention_wW": 3, "attention_wH": 3,
            "attention_add_sta": True, "attention_method": "topcdf",
        }  # fmt: skip
    transformer = diffusers.Kandinsky5Transformer3DModel(
        in_visual_dim=16, in_text_dim=16, in_text_dim2=32, time_dim=16, out_visual_dim=16, patch_size=(1, 2, 2), model_dim=32,
        ff_dim=32, num_text_blocks=1, num_visual_blocks=1 if pro else 2, axes_dims=(4, 4, 8), visual_cond=True, **attention,
    )  # fmt: skip
    vae = diffusers.AutoencoderKLHunyuanVideo(
        latent_channels=16, block_out_channels=(4 if pro else 8,) * 4, layers_per_block=1, norm_num_groups=4, spatial_compression_ratio=8,
        temporal_compression_ratio=4,
    )  # fmt: skip
    clip = transformers.CLIPTextModel(
        transformers.CLIPTextConfig(
            hidden_size=32, intermediate_size=37, num_hidden_layers=1, num_attention_heads=2, projection_dim=32, vocab_size=600,
            bos_token_id=512, eos_token_id=513,
        )
    )  # fmt: skip
    made = diffusers.Kandinsky5I2VPipeline if image else diffusers.Kandinsky5T2VPipeline
    return made(
        transformer=transformer.eval(), vae=vae.eval(), text_encoder=transformers.Qwen2_5_VLForConditionalGeneration(qwen()).eval(),
        tokenizer=bpe(folder, transformers.Qwen2Tokenizer), text_encoder_2=clip.eval(), tokenizer_2=bpe(folder, transformers.CLIPTokenizer),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=5.0),
    )  # fmt: skip


def gemma3() -> Any:
    config = transformers.Gemma3Config(
        text_config=transformers.Gemma3TextConfig(
            hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, head_dim=8,
            vocab_size=128,
        ),
        vision_config={"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28, "patch_size": 14},
        mm_tokens_per_image=4, image_token_index=3, boi_token_index=4, eoi_token_index=5,
    )  # fmt: skip
    return transformers.Gemma3ForConditionalGeneration(config).eval()


def gemma4() -> Any:
    config = transformers.Gemma4UnifiedConfig(
        text_config=transformers.Gemma4UnifiedTextConfig(
            hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, head_dim=8,
            global_head_dim=8, vocab_size=128, vocab_size_per_layer_input=128, hidden_size_per_layer_input=0,
            layer_types=["sliding_attention", "full_attention"], num_kv_shared_layers=0,
        ),
        vision_config=None, audio_config=None,
    )  # fmt: skip
    return transformers.Gemma4UnifiedForConditionalGeneration(config).eval()


def ltx2(folder: Path, *, generation: str = "2.0") -> Any:
    """Of 2.0, 2.3 (other gates, projections, decoders) or 2.5 (another reader, and a guess of how long a shot is)."""
    torch.manual_seed(0)
    from diffusers.pipelines.ltx2 import LTX2TextConnectors, LTX2Vocoder
    from diffusers.pipelines.ltx2.duration_head import LTX2DurationHead
    from diffusers.pipelines.ltx2.vocoder import LTX2VocoderWithBWE

    first, last = generation == "2.0", generation == "2.5"
    transformer = diffusers.LTX2VideoTransformer3DModel(
        in_channels=128, out_channels=128, patch_size=1, patch_size_t=1, num_attention_heads=2, attention_head_dim=8,
        cross_attention_dim=16, audio_in_channels=4, audio_out_channels=4, audio_num_attention_heads=2, audio_attention_head_dim=4,
        audio_cross_attention_dim=8, num_layers=2, caption_channels=16, rope_double_precision=False, rope_type="split",
        gated_attn=not first, audio_gated_attn=not first, cross_attn_mod=not first, audio_cross_attn_mod=not first,
        use_prompt_embeddings=first, perturbed_attn=not first, ff_bias=not last, use_keyframes_abs_pos_embedding=last,
    )  # fmt: skip
    connectors = LTX2TextConnectors(
        caption_channels=16, text_proj_in_factor=3, video_connector_num_attention_heads=2, video_connector_attention_head_dim=8,
        video_connector_num_layers=1, video_connector_num_learnable_registers=None if first else 16,
        audio_connector_num_attention_heads=2, audio_connector_attention_head_dim=8 if first else 4, audio_connector_num_layers=1,
        audio_connector_num_learnable_registers=None if first else 16, connector_rope_base_seq_len=32, rope_double_precision=False,
        rope_type="split", video_gated_attn=not first, audio_gated_attn=not first, per_modality_projections=not first,
        video_hidden_dim=16, audio_hidden_dim=8, proj_bias=not first,
    )  # fmt: skip
    decoder: dict[str, Any] = {"decoder_block_out_channels": (8, 16, 32), "decoder_layers_per_block": (1, 1, 1, 1)}
    if not first:
        decoder = {
            "decoder_block_out_channels": (8, 16, 16, 32), "decoder_layers_per_block": (1,) * 5, "upsample_factor": (2, 2, 1, 2),
            "decoder_spatio_temporal_scaling": (True,) * 4, "decoder_inject_noise": (False,) * 5, "upsample_residual": (False,) * 4,
            "upsample_type": ("spatiotemporal", "spatiotemporal", "temporal", "spatial"), "decoder_spatial_padding_mode": "zeros",
        }  # fmt: skip
    vae = diffusers.AutoencoderKLLTX2Video(
        latent_channels=128, block_out_channels=(8, 16, 32, 64), layers_per_block=(1, 1, 1, 1, 1), spatial_compression_ratio=32,
        temporal_compression_ratio=8, **decoder,
    )  # fmt: skip
    audio = diffusers.AutoencoderKLLTX2Audio(
        base_channels=4, output_channels=2, ch_mult=(1,), num_res_blocks=1, attn_resolutions=None, in_channels=2, resolution=32,
        latent_channels=2, norm_type="pixel", causality_axis="height", dropout=0.0, mid_block_add_attention=False,
        sample_rate=16000, mel_hop_length=160, is_causal=True, mel_bins=8,
    )  # fmt: skip
    if first:
        vocoder = LTX2Vocoder(
            in_channels=16, hidden_channels=32, out_channels=2, upsample_kernel_sizes=[4, 4], upsample_factors=[2, 2],
            resnet_kernel_sizes=[3], resnet_dilations=[[1, 3, 5]], leaky_relu_negative_slope=0.1, output_sampling_rate=16000,
        )  # fmt: skip
    else:  # what it makes at 16 kHz becomes 48
        vocoder = LTX2VocoderWithBWE(
            in_channels=16, hidden_channels=32, out_channels=2, upsample_kernel_sizes=[11, 16, 8], upsample_factors=[5, 8, 4],
            resnet_kernel_sizes=[3], resnet_dilations=[[1, 3, 5]], bwe_in_channels=16, bwe_hidden_channels=32,
            bwe_upsample_kernel_sizes=[12, 16, 11], bwe_upsample_factors=[6, 8, 5], bwe_resnet_kernel_sizes=[3],
            bwe_resnet_dilations=[[1, 3, 5]], num_mel_channels=8,
        )  # fmt: skip
    head = LTX2DurationHead(16, 8, pooler_hidden_dim=8, num_pooler_heads=2, mlp_hidden_dim=8) if last else None
    return diffusers.LTX2Pipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(), vae=vae.eval(), audio_vae=audio.eval(),
        text_encoder=gemma4() if last else gemma3(), tokenizer=t5_tokenizer(folder), connectors=connectors.eval(),
        transformer=transformer.eval(), vocoder=vocoder.eval(), duration_head=head,
        prompt_enhancer=gemma4() if last else None,
    )  # fmt: skip


Maker = Callable[[Path], Any]
# for each kind of network among our models, what its publisher's pipeline is like
NETWORKS: dict[str, Maker] = {
    "cogvideox-2b": cogvideox, "cogvideox-5b": partial(cogvideox, generation="5b"),
    "cogvideox-5b-i2v": partial(cogvideox, image=True, generation="5b"), "cogvideox1.5-5b": partial(cogvideox, generation="1.5"),
    "cogvideox1.5-5b-i2v": partial(cogvideox, image=True, generation="1.5"), "mochi-1": mochi,
    "ltx-video": ltx, "ltx-video-0.9.5": partial(ltx, conditions=True), "wan2.1-1.3b": wan,
    "wan2.1-i2v-480p": wan_image, "wan2.1-flf2v": partial(wan_image, last=True), "wan2.2": wan_experts,
    "wan2.2-i2v": partial(wan_experts, image=True), "wan2.2-5b": wan_5b, "wan2.1-vace-1.3b": wan_vace,
    "hunyuan-video-1.5": hunyuan15, "hunyuan-video-1.5-i2v": partial(hunyuan15, image=True), "ltx-2": ltx2,
    "ltx-2.3": partial(ltx2, generation="2.3"), "ltx-2.5": partial(ltx2, generation="2.5"),
    "sana-video": sana, "kandinsky-5-lite": kandinsky5, "kandinsky-5-lite-i2v": partial(kandinsky5, image=True),
    "kandinsky-5-pro-i2v": partial(kandinsky5, image=True, pro=True),
    "helios": helios, "helios-distilled": partial(helios, sizes=3, distilled=True), "helios-mid": partial(helios, sizes=3),
    "skyreels-v2": skyreels, "skyreels-v2-i2v": partial(skyreels, image=True), "skyreels-v2-df": partial(skyreels, forcing=True),
}  # fmt: skip
# those that are published as another one is, only larger or trained for other sizes or steps
LIKE = {
    "ltx-video-13b": "ltx-video-0.9.5", "ltx-video-13b-distilled": "ltx-video-0.9.5", "ltx-2.3-distilled": "ltx-2.3",
    "wan2.1-14b": "wan2.1-1.3b", "wan2.1-i2v-720p": "wan2.1-i2v-480p", "wan2.1-vace-14b": "wan2.1-vace-1.3b",
    "hunyuan-video-1.5-720p": "hunyuan-video-1.5",
}  # fmt: skip
MAKERS: dict[str, Maker] = {**NETWORKS, **{model: NETWORKS[other] for model, other in LIKE.items()}}


def given(task: str, files: dict[str, str]) -> tuple[Condition, ...]:
    """What is given for a task."""
    one, two, video = files["one"], files["two"], files["video"]
    return {
        TEXT: (), IMAGE: (Condition(one),), FIRST_LAST: (Condition(one), Condition(two, -1)),
        KEYFRAMES: (Condition(one), Condition(two, 8)), EXTEND: (Condition(video, kind="video"),),
        VIDEO: (Condition(video, kind="video", strength=0.3),), CONTROL: (Condition(video, kind="control", strength=0.8),),
    }[task]  # fmt: skip


@contextmanager
def cache(folder: Path, models: Iterable[str]) -> Iterator[Path]:
    """Make a folder the hub's cache, as it is after these models were pulled, and have programs look there and nowhere else."""
    repositories = {card.id: str(card.repo_id) for card in CARDS}
    for model in models:
        place = folder / "hub" / f"models--{repositories[model].replace('/', '--')}" / "snapshots"
        place.mkdir(parents=True)
        save(model, folder / "made").rename(place / "0123456789abcdef")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HOME", str(folder))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("UNSTRUNG_DATA", str(folder / "data"))
        torch.set_num_threads(1)
        gc.collect()
        gc.freeze()  # whoever closes a model looks for what can go with it: not among a million things of the libraries
        yield folder


def save(model: str, folder: Path, makers: Mapping[str, Maker] = MAKERS) -> Path:
    """Write a model's tiny pipeline into a folder."""
    pipe = makers[model](folder / "words")
    pipe.save_pretrained(folder / model)
    return folder / model
