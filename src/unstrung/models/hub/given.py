"""How what is given, pictures and videos pinned at frames, becomes arguments of diffusers' pipelines: one rule for each kind."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from PIL import Image

from unstrung.errors import InvalidRequest
from unstrung.media.clip import Clip, Frames
from unstrung.request import Condition, Request

GREY = 128  # what stands in a frame that is to be filled in
PIECE, REMEMBERED = 33, 3  # of Helios: frames that it draws at a time, and how many such pieces before it sees
OVERLAP = 17  # frames of a film that SkyReels-V2 goes on from, and draws again
CONTROLS = ("control_video", "conditioning_frames", "controls", "video")  # what pipelines call a film that they follow
PICTURES = ("cond_image", "image")  # and the first frame
WINDOW = "latent_window_size"  # the argument of pipelines that draw so many latents at a time, whole windows of them
Rule = Callable[[Request, Mapping[str, Clip], Any], dict[str, Any]]  # the pipeline is the last


def nothing(request: Request, given: Mapping[str, Clip], pipe: Any) -> dict[str, Any]:
    """Give the words alone."""
    assert not request.conditions
    return {}


def image(request: Request, given: Mapping[str, Clip], pipe: Any) -> dict[str, Any]:
    """Give the first frame."""
    first = _only(request)
    _whole(first)
    whole = {"cond_strength": first.strength} if "cond_strength" in _said(pipe) else {}
    return {_named(PICTURES, pipe): _picture(given[first.source]), **whole, **_windows(request, pipe)}


def image_cut(request: Request, given: Mapping[str, Clip], pipe: Any) -> dict[str, Any]:
    """Give the first frame to a pipeline that leaves out the first latent's frames when all is drawn: they come on top."""
    assert request.num_frames
    more = request.num_frames + pipe.vae_scale_factor_temporal
    return {**image(request, given, pipe), "num_frames": more}


def first_last(request: Request, given: Mapping[str, Clip], pipe: Any) -> dict[str, Any]:
    """Give the first frame and the last one."""
    pictures = {condition.frame_index: condition for condition in request.conditions}
    if len(pictures) != 2 or 0 not in pictures:
        raise InvalidRequest("conditions", f"{request.model} needs a first picture too, where it gets a last one.")
    for condition in request.conditions:
        _whole(condition)
    first, last = (pictures[index] for index in sorted(pictures))
    return {"image": _picture(given[first.source]), "last_image": _picture(given[last.source]), **_windows(request, pipe)}


def video(request: Request, given: Mapping[str, Clip], pipe: Any) -> dict[str, Any]:
    """Give a video to be made anew. Ours is how much stays as it is, diffusers' how much is changed."""
    condition = _only(request)
    if condition.frame_index:
        raise InvalidRequest("conditions", f"frame_index is {condition.frame_index}; a video that is made anew begins at 0.")
    assert request.num_frames and request.num_inference_steps
    frames = _exactly(given[condition.source].frames, _in_whole_tokens(request.num_frames, pipe))
    if not (how_much := strength(pipe)):
        return {"video": _pictures(frames)}
    if int(request.num_inference_steps * (1 - condition.strength)) < 1:
        words = f"strength is {condition.strength:g}; of {request.num_inference_steps} steps that leaves none"
        raise InvalidRequest("conditions", f"{words}: let less stay as it is, or take more steps.")
    return {"video": _pictures(frames), how_much: 1 - condition.strength}


def conditions(request: Request, given: Mapping[str, Clip], pipe: Any) -> dict[str, Any]:
    """Give any pictures and videos, each pinned at its frame; of a video so many frames as make whole latents."""
    from diffusers.pipelines.ltx.pipeline_ltx_condition import LTXVideoCondition

    found = []
    for condition in request.conditions:
        clip, at = given[condition.source], condition.frame_index
        _leaves_some(request, condition, clip)
        if condition.kind == "image":
            found.append(LTXVideoCondition(image=_picture(clip), frame_index=at, strength=condition.strength))
        else:
            found.append(LTXVideoCondition(video=_pictures(clip.frames), frame_index=at, strength=condition.strength))
    return {"conditions": found}


def latent_conditions(request: Request, given: Mapping[str, Clip], pipe: Any) -> dict[str, Any]:
    """Give any pictures and videos, each pinned at the latent that its frame is in."""
    from diffusers.pipelines.ltx2.pipeline_ltx2_condition import LTX2VideoCondition

    found = []
    for condition in request.conditions:
        index = -(-condition.frame_index // pipe.vae_temporal_compression_ratio)
        _leaves_some(request, condition, given[condition.source])
        frames = _pictures(given[condition.source].frames)
        found.append(LTX2VideoCondition(frames=frames, index=index, strength=condition.strength))
    return {"conditions": found}


def mask(request: Request, given: Mapping[str, Clip], pipe: Any) -> dict[str, Any]:
    """Give a video in which what is not known is grey, and a mask that is white where it is to be filled in."""
    assert request.num_frames and request.height and request.width
    frames = np.full((request.num_frames, request.height, request.width, 3), GREY, np.uint8)
    unknown = np.full((request.num_frames, request.height, request.width), 255, np.uint8)
    for condition in request.conditions:
        _whole(condition)
        _leaves_some(request, condition, given[condition.source])
        known = given[condition.source].frames[: request.num_frames - condition.frame_index]
        at = slice(condition.frame_index, condition.frame_index + len(known))
        frames[at], unknown[at] = known, 0
    if "mask_video" in _said(pipe):
        return {"video": _numbers(frames), "mask_video": _numbers(unknown[..., None])}
    return {"video": _pictures(frames), "mask": _pictures(unknown)}


def sparse(request: Request, given: Mapping[str, Clip], pipe: Any) -> dict[str, Any]:
    """Give pictures, and the numbers of the frames that they are."""
    frames = [_picture(given[condition.source]) for condition in request.conditions]
    for condition in request.conditions:
        _whole(condition)
    return {"conditioning_frames": frames, "controlnet_frame_indices": [one.frame_index for one in request.conditions]}


def follows(request: Request, given: Mapping[str, Clip], pipe: Any) -> dict[str, Any]:
    """Give a film for Helios to go on from: what comes of it follows on its last frame."""
    film = _gone_before(request, given)
    assert request.num_frames and request.fps
    if film.num_frames < PIECE:
        least = f"{request.model} goes on from {PIECE} at the least, {PIECE / request.fps:.2g} s: give it a longer one"
        raise InvalidRequest("conditions", f"The film that it goes on from has {film.num_frames} frames; {least}.")
    frames, seen = film.frames, REMEMBERED * PIECE
    if len(frames) > seen:  # the rest, but for the first frame, would be encoded for nothing
        frames = np.concatenate([frames[:1], frames[-seen:]])
    return {"video": _pictures(frames), "num_frames": _up(request.num_frames - film.num_frames - 1, PIECE - 1) + 1}


def overlaps(request: Request, given: Mapping[str, Clip], pipe: Any) -> dict[str, Any]:
    """Give the end of a film for SkyReels-V2 to go on from: so many of its last frames as make whole latents are drawn again."""
    film = _gone_before(request, given)
    assert request.num_frames
    again = min(OVERLAP, (film.num_frames - 1) // 4 * 4 + 1)
    fresh = _up(request.num_frames - film.num_frames, 4)
    return {"video": _pictures(film.frames[-again:]), "num_frames": again + fresh, "overlap_history": again}


def joined(film: Clip, frames: Frames, arguments: Mapping[str, Any]) -> Frames:
    """Return a film and what a pipeline, called with these arguments, has drawn that goes on from it, each frame once."""
    again = arguments.get("overlap_history")
    fresh = frames if again is None else frames[again - arguments["num_frames"] :]
    return np.concatenate([film.frames, fresh])


def control(request: Request, given: Mapping[str, Clip], pipe: Any) -> dict[str, Any]:
    """Give a video of depths, poses or lines that the new one follows, and how strictly."""
    condition = _only(request)
    assert request.num_frames
    frames = _exactly(given[condition.source].frames, request.num_frames)
    scale = strength(pipe)
    return {_named(CONTROLS, pipe): _pictures(frames), **({scale: condition.strength} if scale else {})}


RULES: Mapping[str, Rule] = {
    "nothing": nothing, "image": image, "first_last": first_last, "video": video, "conditions": conditions,
    "latent_conditions": latent_conditions, "mask": mask, "follows": follows, "overlaps": overlaps, "control": control,
    "image_cut": image_cut, "sparse": sparse,
}  # fmt: skip
BY_STRENGTH = ("video", "control")  # rules by which how much a film tells is an argument of its own
GO_ON = ("follows", "overlaps")  # rules by which a pipeline is given a film, and gives what comes after it


def strength(pipe: Any) -> str | None:
    """Return what a pipeline calls how much a given film tells; None where it can't be said."""
    return next((name for name in _said(pipe) if name == "strength" or name.endswith("conditioning_scale")), None)


def _said(pipe: Any) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(pipe.__call__).parameters


def _named(names: tuple[str, ...], pipe: Any) -> str:
    """Return the first of these names that a pipeline knows, or the last."""
    return next((name for name in names if name in _said(pipe)), names[-1])


def _only(request: Request) -> Condition:
    """Return the one picture or film that a model can be given."""
    if len(request.conditions) > 1:
        words = f"{request.model} takes one picture or film for this, and was given {len(request.conditions)}."
        raise InvalidRequest("conditions", words)
    return request.conditions[0]


def _gone_before(request: Request, given: Mapping[str, Clip]) -> Clip:
    """Return the film that another one goes on from."""
    condition = _only(request)
    if condition.frame_index:
        words = f"frame_index is {condition.frame_index}; {request.model} goes on from the end of a film: leave it at 0."
        raise InvalidRequest("conditions", words)
    _leaves_some(request, condition, given[condition.source])
    return given[condition.source]


def _up(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple


def _leaves_some(request: Request, condition: Condition, clip: Clip) -> None:
    """Raise where a film that is to go on is as long as what it is to become."""
    assert request.num_frames
    if condition.kind == "video" and condition.frame_index + clip.num_frames >= request.num_frames:
        lengths = f"has {clip.num_frames} frames, and this one is to have {request.num_frames}"
        raise InvalidRequest("conditions", f"The film that it goes on from {lengths}: ask for more seconds.")


def _windows(request: Request, pipe: Any) -> dict[str, int]:
    """Return how many frames Framepack is asked for where it is to draw so many: of each window it counts some only once."""
    if WINDOW not in _said(pipe):
        return {}
    assert request.num_frames
    window, stride = _said(pipe)[WINDOW].default, pipe.vae_scale_factor_temporal
    return {"num_frames": request.num_frames // (window * stride) * ((window - 1) * stride + 1)}


def _whole(condition: Condition) -> None:
    if condition.strength != 1:
        words = f"strength is {condition.strength:g}; a picture that this model is given stays as it is: leave it at 1."
        raise InvalidRequest("conditions", words)


def _exactly(frames: Frames, count: int) -> Frames:
    """Return so many frames: the last one stays where there are too few."""
    return frames[np.minimum(np.arange(count), len(frames) - 1)]


def _in_whole_tokens(count: int, pipe: Any) -> int:
    """Return of how many frames, these or more, a video has whole tokens: in CogVideoX 1.5 one is of two latents in time."""
    each = getattr(getattr(getattr(pipe, "transformer", None), "config", None), "patch_size_t", None) or 1
    if each == 1:
        return count
    stride = pipe.vae_scale_factor_temporal
    return (_up((count - 1) // stride + 1, each) - 1) * stride + 1


def _picture(clip: Clip) -> Image.Image:
    return Image.fromarray(clip.frames[0])


def _pictures(frames: Frames) -> list[Image.Image]:
    return [Image.fromarray(frame) for frame in frames]


def _numbers(frames: Frames) -> Any:
    """Return frames (t h w c) as diffusers' EasyAnimate takes them: a tensor (1 c t h w) from 0 to 1."""
    import torch

    return torch.from_numpy(frames).permute(3, 0, 1, 2)[None] / 255
