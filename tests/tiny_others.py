"""More of diffusers' own video pipelines, real classes with tiny random weights: those that no row of our families is of."""

from __future__ import annotations

import inspect
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import ConfigMixin, ModelMixin  # diffusers looks for the second beside `Guard`
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker

from tiny import (
    CHAT,
    WORDS,
    Maker,
    bpe,
    clip_vision,
    cogvideox,
    kandinsky5,
    ltx,
    ltx2,
    qwen,
    t5,
    t5_tokenizer,
    umt5,
    wan_transformer,
    wan_vae,
)


def _flow(**more: Any) -> Any:
    return diffusers.FlowMatchEulerDiscreteScheduler(**more)


def _unipc() -> Any:
    return diffusers.UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)


def _clip_tokenizer(folder: Path) -> Any:
    return bpe(folder, transformers.CLIPTokenizer, model_max_length=77)


def _unet_2d(channels: int = 4, **more: Any) -> Any:
    return diffusers.UNet2DConditionModel(
        **{
            "block_out_channels": (8, 8), "layers_per_block": 1, "sample_size": 8, "in_channels": channels, "out_channels": 4,
            "norm_num_groups": 2, "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"), "cross_attention_dim": 32, **more,
        }
    ).eval()  # fmt: skip


def clip_text(width: int = 32) -> Any:
    config = transformers.CLIPTextConfig(
        hidden_size=width, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4, vocab_size=600, projection_dim=width,
        bos_token_id=512, eos_token_id=513,
    )  # fmt: skip
    return transformers.CLIPTextModel(config).eval()


def _hunyuan_transformer(channels: int = 4, **more: Any) -> Any:
    return diffusers.HunyuanVideoTransformer3DModel(
        **{
            "in_channels": channels, "out_channels": 4, "num_attention_heads": 2, "attention_head_dim": 10, "num_layers": 1,
            "num_single_layers": 1, "num_refiner_layers": 1, "patch_size": 2, "patch_size_t": 1, "guidance_embeds": True,
            "text_embed_dim": 16, "pooled_projection_dim": 8, "rope_axes_dim": (2, 4, 4), **more,
        }
    ).eval()  # fmt: skip


def hunyuan(folder: Path) -> Any:
    torch.manual_seed(0)
    transformer = _hunyuan_transformer()
    vae = diffusers.AutoencoderKLHunyuanVideo(
        latent_channels=4, block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=4, spatial_compression_ratio=8,
        temporal_compression_ratio=4,
    )  # fmt: skip
    llama = transformers.LlamaModel(
        transformers.LlamaConfig(
            hidden_size=16, intermediate_size=37, num_hidden_layers=3, num_attention_heads=4, vocab_size=128, pad_token_id=0,
        )
    )  # fmt: skip
    return diffusers.HunyuanVideoPipeline(
        text_encoder=llama.eval(), tokenizer=t5_tokenizer(folder), transformer=transformer, vae=vae.eval(),
        scheduler=_flow(shift=7.0), text_encoder_2=clip_text(8),
        tokenizer_2=bpe(folder, transformers.CLIPTokenizer),
    )  # fmt: skip


def picture_vae() -> Any:
    return diffusers.AutoencoderKL(
        block_out_channels=(8,) * 4, down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4, norm_num_groups=2,
    ).eval()  # fmt: skip


def animatediff(folder: Path) -> Any:
    torch.manual_seed(0)
    motion = diffusers.MotionAdapter(
        block_out_channels=(8, 8), motion_layers_per_block=1, motion_norm_num_groups=2, motion_num_attention_heads=2,
        motion_max_seq_length=24,
    )  # fmt: skip
    return diffusers.AnimateDiffPipeline(
        vae=picture_vae(), text_encoder=clip_text(), tokenizer=_clip_tokenizer(folder), unet=_unet_2d(),
        motion_adapter=motion.eval(), scheduler=diffusers.DDIMScheduler(beta_schedule="linear", clip_sample=False),
    )  # fmt: skip


def still_to_video(folder: Path) -> Any:
    torch.manual_seed(0)
    unet = diffusers.UNetSpatioTemporalConditionModel(
        block_out_channels=(32, 64), layers_per_block=1, sample_size=8, in_channels=8, out_channels=4,
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"), cross_attention_dim=32,
        num_attention_heads=2, projection_class_embeddings_input_dim=96, addition_time_embed_dim=32,
    )  # fmt: skip
    vae = diffusers.AutoencoderKLTemporalDecoder(block_out_channels=(32,) * 4, down_block_types=("DownEncoderBlock2D",) * 4)
    encoder = transformers.CLIPVisionModelWithProjection(
        transformers.CLIPVisionConfig(
            hidden_size=32, projection_dim=32, num_hidden_layers=2, num_attention_heads=4, image_size=224, intermediate_size=37,
            patch_size=56,
        )
    )  # fmt: skip
    size = {"height": 224, "width": 224}
    return diffusers.StableVideoDiffusionPipeline(
        vae=vae.eval(), image_encoder=encoder.eval(), unet=unet.eval(),
        scheduler=diffusers.EulerDiscreteScheduler(prediction_type="v_prediction", use_karras_sigmas=True, interpolation_type="linear"),
        feature_extractor=transformers.CLIPImageProcessor(crop_size=size, size=size),
    )  # fmt: skip


def allegro(folder: Path) -> Any:
    torch.manual_seed(0)
    transformer = diffusers.AllegroTransformer3DModel(
        num_attention_heads=2, attention_head_dim=12, in_channels=4, out_channels=4, num_layers=1, cross_attention_dim=24,
        sample_height=16, sample_width=16, sample_frames=6, caption_channels=32,
    )  # fmt: skip
    vae = diffusers.AutoencoderKLAllegro(
        block_out_channels=(8, 8, 8, 8), latent_channels=4, layers_per_block=1, norm_num_groups=2, sample_size=128,
    )  # fmt: skip
    scheduler = diffusers.EulerAncestralDiscreteScheduler()
    return diffusers.AllegroPipeline(t5_tokenizer(folder), t5(), vae.eval(), transformer.eval(), scheduler)


def latte(folder: Path) -> Any:
    torch.manual_seed(0)
    transformer = diffusers.LatteTransformer3DModel(
        sample_size=8, num_layers=1, patch_size=2, attention_head_dim=8, num_attention_heads=2, caption_channels=32,
        in_channels=4, cross_attention_dim=16, out_channels=8, attention_bias=True, activation_fn="gelu-approximate",
        num_embeds_ada_norm=1000, norm_type="ada_norm_single", norm_elementwise_affine=False, video_length=10,
    )  # fmt: skip
    scheduler = diffusers.DDIMScheduler(clip_sample=False)
    return diffusers.LattePipeline(t5_tokenizer(folder), t5(), picture_vae(), transformer.eval(), scheduler)


def lucy(folder: Path) -> Any:
    torch.manual_seed(0)
    return diffusers.LucyEditPipeline(
        tokenizer=t5_tokenizer(folder), text_encoder=umt5(), vae=wan_vae(16), scheduler=_flow(shift=5.0),
        transformer=wan_transformer(32, 16),
    )  # fmt: skip


def chronoedit(folder: Path) -> Any:
    torch.manual_seed(0)
    encoder, processor = clip_vision()
    transformer = diffusers.ChronoEditTransformer3DModel(
        num_attention_heads=2, attention_head_dim=12, in_channels=36, out_channels=16, text_dim=32, freq_dim=64, ffn_dim=32,
        num_layers=1, image_dim=32, added_kv_proj_dim=24, rope_max_seq_len=32, rope_temporal_skip_len=8,
    )  # fmt: skip
    return diffusers.ChronoEditPipeline(
        tokenizer=t5_tokenizer(folder), text_encoder=umt5(), image_encoder=encoder, image_processor=processor,
        transformer=transformer.eval(), vae=wan_vae(16), scheduler=_flow(shift=5.0),
    )  # fmt: skip


def anyflow(folder: Path, *, far: bool = False) -> Any:
    torch.manual_seed(0)
    made = diffusers.AnyFlowFARTransformer3DModel if far else diffusers.AnyFlowTransformer3DModel
    transformer = made(
        num_attention_heads=2, attention_head_dim=12, in_channels=16, out_channels=16, text_dim=32, freq_dim=64, ffn_dim=32,
        num_layers=1, rope_max_seq_len=32, **({"chunk_partition": (1, 2), "full_chunk_limit": 2} if far else {}),
    )  # fmt: skip
    pipeline = diffusers.AnyFlowFARPipeline if far else diffusers.AnyFlowPipeline
    scheduler = diffusers.FlowMapEulerDiscreteScheduler(shift=5.0)
    return pipeline(t5_tokenizer(folder), umt5(), transformer.eval(), wan_vae(16), scheduler)


def cogvideox_control(folder: Path) -> Any:
    like = cogvideox(folder, image=True)
    return diffusers.CogVideoXFunControlPipeline(**like.components)


def _magvit() -> Any:
    return diffusers.AutoencoderKLMagvit(
        latent_channels=4, block_out_channels=[8, 8, 8, 8], layers_per_block=1, norm_num_groups=2, spatial_group_norm=False,
        down_block_types=["SpatialDownBlock3D", "SpatialTemporalDownBlock3D", "SpatialTemporalDownBlock3D", "SpatialTemporalDownBlock3D"],
    ).eval()  # fmt: skip


def easyanimate(folder: Path, *, made: str = "EasyAnimatePipeline") -> Any:
    torch.manual_seed(0)
    channels = {"EasyAnimatePipeline": 4, "EasyAnimateControlPipeline": 8, "EasyAnimateInpaintPipeline": 12}[made]
    transformer = diffusers.EasyAnimateTransformer3DModel(
        num_attention_heads=2, attention_head_dim=16, in_channels=channels, out_channels=4, patch_size=2, sample_width=8, sample_height=8,
        num_layers=1, mmdit_layers=1, time_embed_dim=8, text_embed_dim=16, resize_inpaint_mask_directly=False,
    )  # fmt: skip
    config = transformers.Qwen2VLConfig(
        text_config=qwen().text_config.to_dict() | {"model_type": "qwen2_vl_text"},
        vision_config={"depth": 1, "embed_dim": 16, "num_heads": 2, "hidden_size": 16},
    )
    return getattr(diffusers, made)(
        vae=_magvit(), text_encoder=transformers.Qwen2VLForConditionalGeneration(config).eval(),
        tokenizer=bpe(folder, transformers.Qwen2Tokenizer, chat_template=CHAT), transformer=transformer.eval(),
        scheduler=_flow(),
    )  # fmt: skip


def hunyuan_skyreels(folder: Path) -> Any:
    parts = hunyuan(folder).components
    return diffusers.HunyuanSkyreelsImageToVideoPipeline(**{**parts, "transformer": _hunyuan_transformer(8)})


def _siglip() -> dict[str, Any]:
    config = transformers.SiglipVisionConfig(
        hidden_size=32, intermediate_size=37, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=8
    )
    processor = transformers.SiglipImageProcessor(size={"height": 32, "width": 32})
    return {"image_encoder": transformers.SiglipVisionModel(config).eval(), "feature_extractor": processor}


def framepack(folder: Path) -> Any:
    parts = hunyuan(folder).components
    transformer = diffusers.HunyuanVideoFramepackTransformer3DModel(
        in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=10, num_layers=1, num_single_layers=1,
        num_refiner_layers=1, patch_size=2, patch_size_t=1, guidance_embeds=True, text_embed_dim=16, pooled_projection_dim=8,
        rope_axes_dim=(2, 4, 4), has_image_proj=True, image_proj_dim=32, has_clean_x_embedder=True,
    )  # fmt: skip
    return diffusers.HunyuanVideoFramepackPipeline(**{**parts, "transformer": transformer.eval()}, **_siglip())


def hunyuan_image(folder: Path, *, kind: str = "latent_concat") -> Any:
    """What it reads is a picture of 24 x 24 tokens, for its template counts so many."""
    import tokenizers

    parts = hunyuan(folder).components
    special = ("<image>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({word: n for n, word in enumerate(("?", *sorted({*WORDS})))}, "?"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="?", pad_token="?")
    tokenizer.add_special_tokens({"additional_special_tokens": list(special)})
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(
            hidden_size=8, intermediate_size=16, projection_dim=8, num_attention_heads=2, num_hidden_layers=2, image_size=48, patch_size=2,
        ),
        text_config=transformers.LlamaConfig(
            hidden_size=16, intermediate_size=37, num_hidden_layers=3, num_attention_heads=4, vocab_size=128, pad_token_id=0,
        ),
        pad_token_id=0, image_token_index=tokenizer.convert_tokens_to_ids(special[0]),
    )  # fmt: skip
    size = {"height": 48, "width": 48}
    return diffusers.HunyuanVideoImageToVideoPipeline(
        **{
            **parts, "transformer": _hunyuan_transformer(9 if kind == "latent_concat" else 4, image_condition_type=kind, guidance_embeds=False),
            "text_encoder": transformers.LlavaForConditionalGeneration(config).eval(), "tokenizer": tokenizer,
        }, image_processor=transformers.CLIPImageProcessor(crop_size=size, size=size),
    )  # fmt: skip


def _unet_3d(made: Any, **more: Any) -> Any:
    return made(
        block_out_channels=(8, 8), layers_per_block=1, sample_size=8, norm_num_groups=2, cross_attention_dim=32, attention_head_dim=4,
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"), up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"), **more,
    ).eval()  # fmt: skip


def text_to_video_sd(folder: Path, *, anew: bool = False) -> Any:
    torch.manual_seed(0)
    made = diffusers.VideoToVideoSDPipeline if anew else diffusers.TextToVideoSDPipeline
    return made(
        vae=picture_vae(), text_encoder=clip_text(), tokenizer=_clip_tokenizer(folder), unet=_unet_3d(diffusers.UNet3DConditionModel),
        scheduler=diffusers.DDIMScheduler(clip_sample=False),
    )  # fmt: skip


def i2vgen(folder: Path) -> Any:
    torch.manual_seed(0)
    encoder = transformers.CLIPVisionModelWithProjection(
        transformers.CLIPVisionConfig(
            hidden_size=32, projection_dim=32, num_hidden_layers=1, num_attention_heads=4, image_size=32, intermediate_size=37, patch_size=8,
        )
    )  # fmt: skip
    size = {"height": 32, "width": 32}
    return diffusers.I2VGenXLPipeline(
        vae=picture_vae(), text_encoder=clip_text(), tokenizer=_clip_tokenizer(folder), image_encoder=encoder.eval(),
        feature_extractor=transformers.CLIPImageProcessor(crop_size=size, size=size), unet=_unet_3d(diffusers.I2VGenXLUNet),
        scheduler=diffusers.DDIMScheduler(clip_sample=False),
    )  # fmt: skip


def text_to_video_zero(folder: Path, *, large: bool = False) -> Any:
    torch.manual_seed(0)
    if large:
        parts = {
            name: part
            for name, part in animatediff_xl(folder).components.items()
            if part is not None and name != "motion_adapter"
        }
        return diffusers.TextToVideoZeroSDXLPipeline(**{**parts, "unet": _unet_xl()})
    parts = animatediff(folder).components
    checker = transformers.CLIPConfig(
        vision_config={"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 32, "patch_size": 8},
        projection_dim=8,
    )  # fmt: skip
    size = {"height": 32, "width": 32}
    return diffusers.TextToVideoZeroPipeline(
        vae=parts["vae"], text_encoder=parts["text_encoder"], tokenizer=parts["tokenizer"], unet=_unet_2d(), scheduler=parts["scheduler"],
        safety_checker=StableDiffusionSafetyChecker(checker).eval(), feature_extractor=transformers.CLIPImageProcessor(crop_size=size, size=size),
    )  # fmt: skip


def _awake(module: Any) -> Any:
    """Give layers that begin at zero, and so change nothing, weights as others have."""
    for parameter in module.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.5)
    return module.eval()


def _controlnet() -> Any:
    return _awake(diffusers.ControlNetModel(
        block_out_channels=(8, 8), layers_per_block=1, in_channels=4, norm_num_groups=2, cross_attention_dim=32,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), conditioning_embedding_out_channels=(8, 8, 8, 8),
    ))  # fmt: skip


def _sparse() -> Any:
    return _awake(diffusers.SparseControlNetModel(
        block_out_channels=(8, 8), layers_per_block=1, in_channels=4, norm_num_groups=2, cross_attention_dim=32,
        down_block_types=("CrossAttnDownBlockMotion", "DownBlockMotion"), conditioning_channels=4, motion_max_seq_length=24,
        motion_num_attention_heads=2,
    ))  # fmt: skip


def animatediff_like(folder: Path, *, made: str) -> Any:
    """Another pipeline of AnimateDiff's parts."""
    parts = {name: part for name, part in animatediff(folder).components.items() if part is not None}
    if "ControlNet" in made:
        parts["controlnet"] = _sparse() if "Sparse" in made else _controlnet()
    return getattr(diffusers, made)(**parts)


def pia(folder: Path) -> Any:
    parts = {name: part for name, part in animatediff(folder).components.items() if part is not None}
    return diffusers.PIAPipeline(**{**parts, "unet": _unet_2d(9)})


def _unet_xl() -> Any:
    return _unet_2d(
        4, cross_attention_dim=64, addition_embed_type="text_time", addition_time_embed_dim=8, transformer_layers_per_block=1,
        projection_class_embeddings_input_dim=80, use_linear_projection=True,
    )  # fmt: skip


def animatediff_xl(folder: Path) -> Any:
    torch.manual_seed(0)
    parts = animatediff(folder).components
    second = transformers.CLIPTextModelWithProjection(clip_text().config).eval()
    return diffusers.AnimateDiffSDXLPipeline(
        vae=parts["vae"], text_encoder=parts["text_encoder"], text_encoder_2=second, tokenizer=parts["tokenizer"],
        tokenizer_2=parts["tokenizer"], unet=_unet_xl(), motion_adapter=parts["motion_adapter"], scheduler=parts["scheduler"],
    )  # fmt: skip


def t5_gemma() -> Any:
    config = transformers.T5Gemma2EncoderConfig(
        text_config=transformers.T5Gemma2TextConfig(
            hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, vocab_size=1104, head_dim=16,
            max_position_embeddings=1024, num_key_value_heads=2, dropout_rate=0.0,
        ),
        vision_config=transformers.SiglipVisionConfig(
            hidden_size=4, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=16, patch_size=4
        ),
    )  # fmt: skip
    return transformers.T5Gemma2Encoder(config).eval()


def motif(folder: Path, *, image: bool = False) -> Any:
    torch.manual_seed(0)
    transformer = diffusers.MotifVideoTransformer3DModel(
        in_channels=33, out_channels=16, num_attention_heads=2, attention_head_dim=12, num_layers=1, num_single_layers=1,
        patch_size=2, text_embed_dim=32, image_embed_dim=4 if image else None, rope_axes_dim=(4, 4, 4),
    )  # fmt: skip
    made = diffusers.MotifVideoImage2VideoPipeline if image else diffusers.MotifVideoPipeline
    return made(
        scheduler=_flow(shift=7.0), vae=wan_vae(16), text_encoder=t5_gemma(), tokenizer=t5_tokenizer(folder), transformer=transformer.eval(),
        guider=diffusers.AdaptiveProjectedGuidance(),
        feature_extractor=transformers.SiglipImageProcessor(size={"height": 16, "width": 16}) if image else None,
    )  # fmt: skip


class Guard(ModelMixin, ConfigMixin):
    """Stands in for NVIDIA's guard, which fetches its own weights: it lets everything through."""

    config_name = "config.json"

    @diffusers.configuration_utils.register_to_config
    def __init__(self) -> None:
        super().__init__()
        self.nothing = torch.nn.Parameter(torch.zeros(1))

    def check_text_safety(self, prompt: str) -> bool:
        return True

    def check_video_safety(self, frames: Any) -> Any:
        return frames


def _cosmos_transformer(channels: int, **more: Any) -> Any:
    return diffusers.CosmosTransformer3DModel(
        in_channels=channels, out_channels=16, num_attention_heads=2, attention_head_dim=16, num_layers=1, mlp_ratio=2, text_embed_dim=32,
        adaln_lora_dim=4, max_size=(128, 16, 16), patch_size=(1, 2, 2), rope_scale=(2.0, 1.0, 1.0), concat_padding_mask=True, **more,
    ).eval()  # fmt: skip


def cosmos(folder: Path, *, video: bool = False) -> Any:
    torch.manual_seed(0)
    vae = diffusers.AutoencoderKLCosmos(
        latent_channels=16, encoder_block_out_channels=(8, 8, 8, 8), decode_block_out_channels=(8, 8, 8, 8), attention_resolutions=(8,),
        resolution=64, num_layers=1, patch_size=4, patch_type="haar", scaling_factor=1.0, spatial_compression_ratio=4,
        temporal_compression_ratio=4,
    )  # fmt: skip
    made = diffusers.CosmosVideoToWorldPipeline if video else diffusers.CosmosTextToWorldPipeline
    scheduler = diffusers.EDMEulerScheduler(
        sigma_min=0.002, sigma_max=80, sigma_data=0.5, sigma_schedule="karras", prediction_type="epsilon", rho=7.0, final_sigmas_type="sigma_min",
    )  # fmt: skip
    return made(
        text_encoder=t5(), tokenizer=t5_tokenizer(folder), transformer=_cosmos_transformer(17 if video else 16), vae=vae.eval(),
        scheduler=scheduler, safety_checker=Guard(),
    )  # fmt: skip


def cosmos_2(folder: Path) -> Any:
    torch.manual_seed(0)
    return diffusers.Cosmos2VideoToWorldPipeline(
        text_encoder=t5(), tokenizer=t5_tokenizer(folder), transformer=_cosmos_transformer(17), vae=wan_vae(16),
        scheduler=_flow(use_karras_sigmas=True), safety_checker=Guard(),
    )  # fmt: skip


def cosmos_25(folder: Path, *, control: bool = False) -> Any:
    torch.manual_seed(0)
    made = diffusers.Cosmos2_5_TransferPipeline if control else diffusers.Cosmos2_5_PredictBasePipeline
    more: dict[str, Any] = {}
    if control:
        more["controlnet"] = diffusers.CosmosControlNetModel(
            n_controlnet_blocks=1, in_channels=18, latent_channels=18, model_channels=32, num_attention_heads=2, attention_head_dim=16,
            mlp_ratio=2, text_embed_dim=32, adaln_lora_dim=4, patch_size=(1, 2, 2), max_size=(128, 16, 16), img_context_dim_out=32,
        ).eval()  # fmt: skip
    return made(
        text_encoder=transformers.Qwen2_5_VLForConditionalGeneration(qwen()).eval(),
        tokenizer=bpe(folder, transformers.Qwen2Tokenizer, chat_template=CHAT),
        transformer=_cosmos_transformer(17, **({"controlnet_block_every_n": 1} if control else {})),
        vae=wan_vae(16), scheduler=_unipc(), safety_checker=Guard(), **more,
    )  # fmt: skip


def cosmos_3(folder: Path) -> Any:
    torch.manual_seed(0)
    transformer = diffusers.Cosmos3OmniTransformer(
        head_dim=6, hidden_size=6, intermediate_size=12, latent_channel=16, latent_patch_size=1, num_attention_heads=1, num_hidden_layers=1,
        num_key_value_heads=1, patch_latent_dim=16, rms_norm_eps=1e-5, rope_axes_dim=[1, 1, 1], vocab_size=512,
    )  # fmt: skip
    return diffusers.Cosmos3OmniPipeline(
        transformer=transformer.eval(), text_tokenizer=bpe(folder, transformers.Qwen2Tokenizer, chat_template=CHAT), vae=wan_vae(16),
        scheduler=_unipc(), enable_safety_checker=False,
    )  # fmt: skip


def kandinsky6(folder: Path, *, sound: bool = False) -> Any:
    torch.manual_seed(0)
    like = kandinsky5(folder, image=True).components
    transformer = diffusers.Kandinsky6Transformer3DModel(
        in_visual_dim=16, out_visual_dim=16, in_text_dim=16, in_text_dim2=32, time_dim=16, model_dim=32, ff_dim=32, num_text_blocks=1,
        num_visual_blocks=1, axes_dims=(4, 4, 8), in_audio_dim=4, out_audio_dim=4, visual_token_type_num_embeddings=2,
    )  # fmt: skip
    more: dict[str, Any] = {}
    if sound:
        audio = diffusers.MMAudioVAE(
            mel_bins=8, latent_channels=4, hidden_channels=8, channel_multipliers=(1, 2), layers_per_block=1
        )
        vocoder = diffusers.MMAudioVocoder(
            num_mels=8, upsample_initial_channel=8, upsample_rates=(8, 8, 8), upsample_kernel_sizes=(16, 16, 16),
            resblock_kernel_sizes=(3,), resblock_dilation_sizes=((1, 3, 5),),
        )  # fmt: skip
        more = {"audio_vae": audio.eval(), "vocoder": vocoder.eval()}
    return diffusers.Kandinsky6TI2VAPipeline(**{**like, "transformer": transformer.eval()}, **more)


def ltx2_like(folder: Path, *, made: str) -> Any:
    """Another pipeline of LTX-2's parts, or of LTX-2.5's."""
    parts = {
        name: part
        for name, part in ltx2(folder, generation="2.5" if "DFR" in made else "2.0").components.items()
        if part is not None
    }
    parts["vocoder"] = ltx2(folder).vocoder  # the later one's takes seconds
    taken = inspect.signature(getattr(diffusers, made).__init__).parameters
    return getattr(diffusers, made)(**{name: part for name, part in parts.items() if name in taken})


def ltx_long(folder: Path) -> Any:
    return diffusers.LTXI2VLongMultiPromptPipeline(**ltx(folder).components)


OTHERS: dict[str, Maker] = {
    "hunyuan-video": hunyuan, "animatediff": animatediff, "svd": still_to_video,
    "lucy": lucy, "cogvideox-control": cogvideox_control, "hunyuan-i2v": hunyuan_image, "framepack": framepack,
    "hunyuan-skyreels": hunyuan_skyreels, "allegro": allegro, "latte": latte, "easyanimate": easyanimate,
    "easyanimate-control": partial(easyanimate, made="EasyAnimateControlPipeline"),
    "easyanimate-inpaint": partial(easyanimate, made="EasyAnimateInpaintPipeline"),
    "cosmos": cosmos, "cosmos-video": partial(cosmos, video=True), "cosmos-2": cosmos_2, "cosmos-2.5": cosmos_25,
    "cosmos-2.5-transfer": partial(cosmos_25, control=True), "cosmos-3": cosmos_3,
    "text-to-video-sd": text_to_video_sd, "video-to-video-sd": partial(text_to_video_sd, anew=True), "i2vgen-xl": i2vgen, "pia": pia,
    "animatediff-controlnet": partial(animatediff_like, made="AnimateDiffControlNetPipeline"),
    "animatediff-sparse": partial(animatediff_like, made="AnimateDiffSparseControlNetPipeline"),
    "animatediff-pag": partial(animatediff_like, made="AnimateDiffPAGPipeline"), "animatediff-xl": animatediff_xl,
    "text-to-video-zero": text_to_video_zero, "text-to-video-zero-xl": partial(text_to_video_zero, large=True), "motif": motif, "motif-i2v": partial(motif, image=True), "chronoedit": chronoedit,
    "ltx2-in-context": partial(ltx2_like, made="LTX2InContextPipeline"),
    "ltx2-dfr": partial(ltx2_like, made="LTX2DFRPipeline"), "ltx-long": ltx_long,
    "anyflow": anyflow, "anyflow-far": partial(anyflow, far=True), "kandinsky-6": kandinsky6,
    "kandinsky-6-sound": partial(kandinsky6, sound=True), "hunyuan-i2v-replace": partial(hunyuan_image, kind="token_replace"),
}  # fmt: skip
