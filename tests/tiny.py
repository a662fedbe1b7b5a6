"""Diffusers' own video pipelines, real classes with tiny random weights: made on the spot, saved as their publishers save them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import sentencepiece
import torch
import transformers

WORDS = "a red fox running through the snow at night the sea under a blue sky with two small houses and one tall tree".split()


def t5_tokenizer(folder: Path) -> Any:
    """A tokenizer of T5's kind, trained on a few words."""
    sentences = [" ".join(WORDS[i:] + WORDS[:i]) for i in range(len(WORDS))] * 20
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_writer=model, vocab_size=60, model_type="unigram", pad_id=0, eos_id=1,
        unk_id=2, bos_id=-1, minloglevel=2, hard_vocab_limit=False,
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spiece.model").write_bytes(model.getvalue())
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


def cogvideox(folder: Path, *, image: bool = False) -> Any:
    torch.manual_seed(0)
    transformer = diffusers.CogVideoXTransformer3DModel(
        num_attention_heads=2, attention_head_dim=16, in_channels=32 if image else 16, out_channels=16, time_embed_dim=8,
        text_embed_dim=32, num_layers=2, sample_width=8, sample_height=8, sample_frames=9, patch_size=2,
        temporal_compression_ratio=4, max_text_seq_length=226, use_rotary_positional_embeddings=True,
    )  # fmt: skip
    vae = diffusers.AutoencoderKLCogVideoX(
        in_channels=3, out_channels=3, latent_channels=16, block_out_channels=(8, 8, 8, 8), layers_per_block=1,
        norm_num_groups=2, temporal_compression_ratio=4, sample_height=64, sample_width=64,
        down_block_types=("CogVideoXDownBlock3D",) * 4, up_block_types=("CogVideoXUpBlock3D",) * 4,
    )  # fmt: skip
    made = diffusers.CogVideoXImageToVideoPipeline if image else diffusers.CogVideoXPipeline
    scheduler = diffusers.CogVideoXDDIMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, prediction_type="v_prediction",
        rescale_betas_zero_snr=True, snr_shift_scale=3.0, timestep_spacing="trailing", set_alpha_to_one=True,
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
        in_channels=128, out_channels=128, patch_size=1, patch_size_t=1, num_attention_heads=4, attention_head_dim=8,
        cross_attention_dim=32, num_layers=1, caption_channels=32,
    )  # fmt: skip
    vae = diffusers.AutoencoderKLLTXVideo(
        in_channels=3, out_channels=3, latent_channels=128, block_out_channels=(8, 8, 8, 8), decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1, 1, 1, 1, 1), decoder_layers_per_block=(1, 1, 1, 1, 1),
        spatio_temporal_scaling=(True, True, True, False), decoder_spatio_temporal_scaling=(True, True, True, False),
        patch_size=4, patch_size_t=1, timestep_conditioning=conditions,
    )  # fmt: skip
    made = diffusers.LTXConditionPipeline if conditions else diffusers.LTXPipeline
    return made(diffusers.FlowMatchEulerDiscreteScheduler(), vae.eval(), t5(), t5_tokenizer(folder), transformer.eval())


def _wan_vae(channels: int, large: bool = False) -> Any:
    more: dict[str, Any] = {}
    if large:  # as 2.2's of 5 billion: 16 pixels a latent
        more = {
            "in_channels": 12,
            "out_channels": 12,
            "patch_size": 2,
            "scale_factor_spatial": 16,
            "is_residual": True,
            "decoder_base_dim": 4,
        }
    vae = diffusers.AutoencoderKLWan(
        base_dim=4, z_dim=channels, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True],
        latents_mean=[0.0] * channels, latents_std=[1.0] * channels, **more,
    )  # fmt: skip
    return vae.eval()


def _wan_transformer(channels_in: int, channels_out: int, **more: Any) -> Any:
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
        vae=_wan_vae(16),
        scheduler=_unipc(),
        transformer=_wan_transformer(16, 16),
    )


def wan_image(folder: Path, *, last: bool = False) -> Any:
    torch.manual_seed(0)
    encoder, processor = clip_vision()
    more = {"image_dim": 32, "added_kv_proj_dim": 24, **({"pos_embed_seq_len": 2 * (16 + 1)} if last else {})}
    return diffusers.WanImageToVideoPipeline(
        tokenizer=t5_tokenizer(folder), text_encoder=umt5(), vae=_wan_vae(16), scheduler=_unipc(), image_encoder=encoder,
        image_processor=processor, transformer=_wan_transformer(36, 16, **more),
    )  # fmt: skip


def wan_experts(folder: Path, *, image: bool = False) -> Any:
    torch.manual_seed(0)
    made = diffusers.WanImageToVideoPipeline if image else diffusers.WanPipeline
    first, second = (_wan_transformer(36 if image else 16, 16) for _ in range(2))
    return made(
        tokenizer=t5_tokenizer(folder), text_encoder=umt5(), vae=_wan_vae(16), scheduler=_unipc(), transformer=first,
        transformer_2=second, boundary_ratio=0.875,
    )  # fmt: skip


def wan_5b(folder: Path) -> Any:
    torch.manual_seed(0)
    return diffusers.WanPipeline(
        tokenizer=t5_tokenizer(folder), text_encoder=umt5(), vae=_wan_vae(48, large=True), scheduler=_unipc(),
        transformer=_wan_transformer(48, 48), expand_timesteps=True,
    )  # fmt: skip


def wan_vace(folder: Path) -> Any:
    torch.manual_seed(0)
    transformer = diffusers.WanVACETransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=12, in_channels=16, out_channels=16, text_dim=32,
        freq_dim=256, ffn_dim=32, num_layers=2, cross_attn_norm=True, qk_norm="rms_norm_across_heads", rope_max_seq_len=64,
        vace_layers=[0], vace_in_channels=96,
    )  # fmt: skip
    return diffusers.WanVACEPipeline(
        tokenizer=t5_tokenizer(folder), text_encoder=umt5(), vae=_wan_vae(16), scheduler=_unipc(), transformer=transformer.eval()
    )


Maker = Callable[[Path], Any]
# for each of our models, what its publisher's pipeline is like
MAKERS: dict[str, Maker] = {
    "cogvideox-2b": cogvideox, "cogvideox-5b-i2v": lambda folder: cogvideox(folder, image=True), "mochi-1": mochi,
    "ltx-video": ltx, "ltx-video-0.9.5": lambda folder: ltx(folder, conditions=True), "wan2.1-1.3b": wan,
    "wan2.1-i2v-480p": wan_image, "wan2.1-flf2v": lambda folder: wan_image(folder, last=True), "wan2.2": wan_experts,
    "wan2.2-i2v": lambda folder: wan_experts(folder, image=True), "wan2.2-5b": wan_5b, "wan2.1-vace-1.3b": wan_vace,
}  # fmt: skip


def save(model: str, folder: Path) -> Path:
    """Write a model's tiny pipeline into a folder."""
    pipe = MAKERS[model](folder / "words")
    pipe.save_pretrained(folder / model)
    return folder / model
