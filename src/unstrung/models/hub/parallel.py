"""Several GPUs for one film: a process on each, all with the same model and request, which divide the transformer's work.

Each process has the whole model and a share of the picture's tokens. Where tokens look at one another, the processes exchange
shares of the tokens for shares of the heads, and back (Ulysses, arXiv 2309.14509), as diffusers' context parallelism has it.
The first process tells how far it is, and decodes. Whoever asked computes nothing: it starts the others, hears them, and ends
them; where it dies, they end by themselves.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

import numpy as np

from unstrung.errors import Canceled, GivenBack, InvalidRequest, MissingWeights, NotEnoughMemory, UnstrungError
from unstrung.events import Emit, Event, Note, Preview, Progress
from unstrung.media.clip import Clip
from unstrung.models.hub import caches, memory
from unstrung.models.hub.families import Family, Weights
from unstrung.request import Request

CANCEL_SECONDS, ERROR_SECONDS = 60, 5  # in which the others come to their end; who does not is killed, and loads anew
FAILED = "process_failed"
GATHERED = "proj_out"  # the layer after which most transformers are whole again
UNEVEN = "divisible by mesh size"  # of diffusers' words for tokens that can't be divided


def check(request: Request, weights: Weights, family: Family, folder: Path, device: str) -> None:
    """Raise `InvalidRequest` where so many processes can't make a film together, before anything is loaded."""
    gpus = request.options["gpus"]
    check_count(gpus, device)
    if gpus == 1:
        return
    for name, off in (("cache", caches.NONE), ("compile", False), ("upsample", False)):
        if (value := request.options.get(name, off)) != off:
            words = f"option gpus is {gpus}, and {name} is {value}, which do not go together: leave one of the two out."
            raise InvalidRequest("options", words)
    config = json.loads((folder / "transformer" / "config.json").read_text())
    _divides(gpus, int(config["num_attention_heads"]), f"{weights.id} has {{}} heads")
    if not family.pieces:  # what is drawn piece by piece sees the pieces before too: it is seen on the way
        assert request.width and request.height and request.num_frames
        seen = memory.tokens(weights, family, request.width, request.height, request.num_frames) - family.text_tokens
        _divides(gpus, seen, "the film has {} tokens at this size and length")


def check_count(gpus: int, device: str | None) -> None:
    """Raise `InvalidRequest` where a device has no room for so many processes."""
    import torch

    most, here = _most(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if not 1 <= gpus <= most:
        raise InvalidRequest("options", f"option gpus is {gpus}; this machine has {here}: --set gpus={most}")


def _most(device: str) -> tuple[int, str]:
    """Return how many processes a device has room for, and what it has, in words."""
    import torch

    if sys.platform == "win32":
        return 1, "Windows, where films are made by one"
    if device.startswith("cuda"):
        count = torch.cuda.device_count()
        return count, f"{count} GPU{'s' if count > 1 else ''}"
    if device == "cpu":
        cores = os.cpu_count() or 1
        return cores, f"no GPU, and {cores} core{'s' if cores > 1 else ''} in their place"
    return 1, f"one ({device})"


def _divides(gpus: int, count: int, words: str) -> None:
    if count % gpus:
        able = ", ".join(str(n) for n in range(1, gpus) if count % n == 0)
        raise InvalidRequest("options", f"option gpus is {gpus}; {words.format(count)}, which go by: {able}.")


class Line:
    """A connection over which messages go: JSON, and arrays after it. Nothing is pickled."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def send(self, message: Mapping[str, Any], arrays: Sequence[Any] = ()) -> None:
        """Send a message; raise `OSError` where nobody is at the other end."""
        heads = [(str(array.dtype), array.shape) for array in arrays]
        self.connection.send_bytes(json.dumps({**message, "arrays": heads}).encode())
        for array in arrays:
            self.connection.send_bytes(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)

    def receive(self) -> tuple[dict[str, Any], list[Any]]:
        """Wait for a message and return it; raise `EOFError` or `OSError` where nobody is at the other end any more."""
        message = json.loads(self.connection.recv_bytes())
        heads = message.pop("arrays")
        return message, [np.frombuffer(self.connection.recv_bytes(), kind).reshape(shape).copy() for kind, shape in heads]


class Team:
    """Processes that make each film together, and wait for the next one; the model is loaded with the first."""

    def __init__(self, gpus: int, tiled: bool, model: Mapping[str, Any]) -> None:
        """Start them. `model` says which one, in JSON: `card`, `folder`, `device`, `sha256`."""
        self.about: dict[str, Any] = {}  # what a recipe says of how the last film was made
        self._kind, self._film = (gpus, tiled), 0
        self._folder = tempfile.TemporaryDirectory(prefix="unstrung-")
        self._lines: list[Line] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        try:
            for rank in range(gpus):
                self._start(rank)
                told = {**model, "rank": rank, "gpus": gpus, "tiled": tiled, "meeting": str(Path(self._folder.name) / "meeting")}
                self._lines[rank].send(told)
        except BaseException:
            self.close()
            raise

    def _start(self, rank: int) -> None:
        ours, theirs = Pipe()
        package = str(Path(__file__).parents[3])  # it need not be installed
        path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
        line = [sys.executable, "-P", "-m", "unstrung.models.hub.parallel", str(theirs.fileno())]
        with theirs, self._log(rank).open("wb") as log:
            self._lines.append(Line(ours))
            process = subprocess.Popen(
                line, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, env={**os.environ, "PYTHONPATH": path},  # who presses Ctrl-C means us
            )  # fmt: skip
        self._processes.append(process)

    def _log(self, rank: int) -> Path:
        return Path(self._folder.name) / f"{rank}.log"

    def serves(self, gpus: int, tiled: bool) -> bool:
        """Return whether these are so many, of that kind, and alive."""
        return self._kind == (gpus, tiled) and bool(self._lines) and all(one.poll() is None for one in self._processes)

    def film(self, request: Request, emit: Emit, given: Mapping[str, Clip]) -> Clip:
        """Have a film made; whatever ends it in one process ends it in all."""
        self._film += 1
        fps = {source: clip.fps for source, clip in given.items()}
        message = {"film": self._film, "request": request.to_dict(), "given": fps}
        busy = set(range(len(self._lines)))
        try:
            for rank in busy:
                self._tell(rank, message, [clip.frames for clip in given.values()])
            made = None
            while busy:
                for rank, said, arrays in self._heard(busy):
                    if said["kind"] == "done":
                        busy.discard(rank)
                        made = made if rank else (said, arrays)
                    elif said["kind"] == "error":
                        busy.discard(rank)
                        raise self._failed(said)
                    else:
                        emit(_event(said, arrays))
        except GivenBack:
            self.close()  # what is kept for whoever goes on stays as it is
            raise
        except Canceled:
            with suppress(UnstrungError):  # it may be dead
                self._tell(0, {"stop": self._film})
            self._settle(busy, CANCEL_SECONDS)
            raise
        except UnstrungError:
            self._settle(busy, ERROR_SECONDS)
            raise
        except BaseException:
            self.close()
            raise
        assert made is not None
        said, arrays = made
        self.about = said["about"]
        return Clip(arrays[0], said["fps"], *((arrays[1], said["sample_rate"]) if len(arrays) > 1 else ()))

    def _tell(self, rank: int, message: Mapping[str, Any], arrays: Sequence[Any] = ()) -> None:
        try:
            self._lines[rank].send(message, arrays)
        except OSError:
            raise self._dead(rank) from None

    def _heard(self, ranks: set[int], seconds: float | None = None) -> Iterator[tuple[int, dict[str, Any], list[Any]]]:
        """Wait, and yield a message of each process that has one; raise where a process is dead."""
        of = {self._lines[rank].connection: rank for rank in ranks}
        for connection in wait(list(of), seconds):
            rank = of[connection]  # type: ignore[index]
            try:
                message, arrays = self._lines[rank].receive()
            except (EOFError, OSError):
                raise self._dead(rank) from None
            yield rank, message, arrays

    def _failed(self, said: Mapping[str, Any]) -> UnstrungError:
        """Return what to raise for what a process says; that it misses another one, which has died, is not what happened."""
        for _ in range(20 if said["code"] == FAILED else 0):
            if dead := [rank for rank, process in enumerate(self._processes) if process.poll() is not None]:
                return self._dead(dead[0])
            time.sleep(0.05)
        return _error(said)

    def _dead(self, rank: int) -> UnstrungError:
        """End all, and return what to raise where one has ended by itself."""
        process = self._processes[rank]
        try:
            how = f"signal {-process.wait(5)}" if process.wait(5) < 0 else f"exit code {process.returncode}"
        except subprocess.TimeoutExpired:
            how = "it says nothing more"
        said = self._log(rank).read_text(errors="replace").strip().splitlines()[-1:]
        words = f"Process {rank + 1} of the {self._kind[0]} that made the film together has ended ({how})"
        self.close()
        last = f" Its last words: {said[0]}" if said and not how.startswith("signal") else ""
        return UnstrungError("process_ended", None, f"{words}: ask again, or leave out --set gpus.{last}")

    def _settle(self, busy: set[int], seconds: float) -> None:
        """Wait until all have come to the film's end; end those who don't in time."""
        until = time.monotonic() + seconds
        while busy and self._lines:
            if (left := until - time.monotonic()) <= 0:
                self.close()
                return
            try:
                for rank, said, _ in self._heard(busy, left):
                    if said["kind"] in ("done", "error"):
                        busy.discard(rank)
            except UnstrungError:
                return  # a dead one has ended all

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
        for line in self._lines:
            line.connection.close()
        self._lines, self._processes = [], []
        self._folder.cleanup()


def _event(said: Mapping[str, Any], arrays: Sequence[Any]) -> Event:
    if said["kind"] == "preview":
        return Preview(arrays[0], said["step"])
    known = {"progress": Progress, "note": Note}[said["kind"]]
    event: Event = known(**said["event"])
    return event


def _error(said: Mapping[str, Any]) -> UnstrungError:
    code, field, message = said["code"], said["field"], said["message"]
    if said["type"] == "InvalidRequest":
        return InvalidRequest(field, message, code)
    if said["type"] in ("MissingWeights", "NotEnoughMemory"):
        return {"MissingWeights": MissingWeights, "NotEnoughMemory": NotEnoughMemory}[said["type"]](message)
    return UnstrungError(code, field, message)


# ---- what follows runs in the processes that were started


class _Orders:
    """What whoever started this process wants of it; when that one is gone, so is this process."""

    def __init__(self, line: Line, folder: Path) -> None:
        self.films: SimpleQueue[tuple[dict[str, Any], list[Any]]] = SimpleQueue()
        self.stopped = 0  # which film was canceled
        self._line, self._folder = line, folder
        Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                message, arrays = self._line.receive()
            except (EOFError, OSError):
                shutil.rmtree(self._folder, ignore_errors=True)
                os._exit(1)  # at once: the main thread may wait for a process that is gone too
            if "stop" in message:
                self.stopped = message["stop"]
            else:
                self.films.put((message, arrays))


class _Share:
    """Hears one process's events: where all are at the same point, they ask one another whether to go on."""

    def __init__(self, rank: int, film: int, pieces: bool, orders: _Orders, line: Line) -> None:
        self._rank, self._film, self._pieces, self._orders, self._line = rank, film, pieces, orders, line

    def __call__(self, event: Event) -> None:
        if isinstance(event, Progress) and (event.stage == "sample" or (event.stage == "decode" and not event.done)):
            self._agree(("sample", "decode").index(event.stage))
            if event.stage == "decode" and self._rank and not self._pieces:
                raise GivenBack  # the first one decodes alone
        if not self._rank:
            self._say(event)

    def _agree(self, at: int) -> None:
        import torch
        import torch.distributed as dist

        told = torch.tensor([int(self._orders.stopped == self._film), at, -at])
        dist.all_reduce(told, dist.ReduceOp.MAX)
        stop, most, least = told.tolist()
        if most != -least:
            raise RuntimeError("one process samples, and another one decodes")
        if stop:
            raise Canceled

    def _say(self, event: Event) -> None:
        if isinstance(event, Preview):
            self._line.send({"kind": "preview", "step": event.step}, [event.frames])
        else:
            self._line.send({"kind": type(event).__name__.lower(), "event": asdict(event)})


def main(connection: int) -> None:
    """Make films with the others until whoever started this process has gone."""
    line = Line(Connection(connection))
    told, _ = line.receive()
    orders = _Orders(line, Path(told["meeting"]).parent)
    model, family = _join(told)
    rank = told["rank"]
    while True:
        message, arrays = orders.films.get()
        given = {name: Clip(frames, fps) for (name, fps), frames in zip(message["given"].items(), arrays, strict=True)}
        share = _Share(rank, message["film"], family.pieces, orders, line)
        try:
            clip = model._run(Request.from_dict(message["request"]), share, given)
            if rank:
                line.send({"kind": "done"})
            else:
                sound = [] if clip.audio is None else [clip.audio]
                said = {"kind": "done", "fps": clip.fps, "sample_rate": clip.sample_rate, "about": model.about()}
                line.send(said, [clip.frames, *sound])
        except Canceled:
            line.send({"kind": "done"})  # whoever stopped it knows
        except Exception as error:
            line.send({"kind": "error", **_words(error, rank)})


def _join(told: Mapping[str, Any]) -> tuple[Any, Family]:
    """Return the model, which is not loaded yet, and its family, as one of a group of processes."""
    import torch
    import torch.distributed as dist

    from unstrung.models.hub import CARDS, _row, find
    from unstrung.models.hub.adapter import HubModel
    from unstrung.models.hub.pipes import Pipes

    rank, gpus, device = told["rank"], told["gpus"], told["device"]
    card = next((card for card in CARDS if card.id == told["card"]), None) or find(told["card"])
    assert card is not None, told["card"]
    if device == "cuda":
        device = f"cuda:{rank}"
        torch.cuda.set_device(rank)
    else:
        torch.set_num_threads(max(1, torch.get_num_threads() // gpus))
    backend = "cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo"
    dist.init_process_group(backend, init_method=f"file://{told['meeting']}", rank=rank, world_size=gpus)
    family, weights = _row(card)
    pipes = Pipes(card, family, weights, Path(told["folder"]), device)
    pipes.plan = memory.Plan("resident", told["tiled"], {"sample": 0}, 0, 0, 1.0, 0.0)
    pipes.loaded = partial(_divide, rank=rank, gpus=gpus, device=device)
    return HubModel(card, family, weights, pipes, {"sha256": told["sha256"]}), family


def _divide(pipe: Any, rank: int, gpus: int, device: str) -> None:
    """Have the transformers of a loaded pipeline compute a share of every step.

    Each process keeps the whole text: what looks at it needs nothing of the others. For some families diffusers would divide it
    too, and then a mask over all heads meets a share of them.
    """
    import torch
    from diffusers.models._modeling_parallel import ContextParallelConfig, ParallelConfig
    from torch.distributed.device_mesh import init_device_mesh

    mesh = init_device_mesh(device.split(":")[0], (1, gpus), mesh_dim_names=("ring", "ulysses"))
    for part in caches.transformers(pipe):
        config = ParallelConfig(context_parallel_config=ContextParallelConfig(ulysses_degree=gpus))
        config.setup(rank, gpus, torch.device(device), mesh=mesh)
        part._resolve_parallel_config = _always(config)  # its own asks which GPU, and a processor is none
        part.enable_parallelism(config=config, cp_plan=plan_of(part))
        part.register_forward_pre_hook(_before, with_kwargs=True)
        for name, module in part.named_modules():
            if name.endswith(".attn2") and hasattr(module.processor, "_parallel_config"):
                module.processor._parallel_config = None


def _always(config: Any) -> Callable[[Any], Any]:
    return lambda _: config


def _before(part: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Give a time that all tokens share without their axis, along which it would be divided; raise for what can't be gathered."""
    if GATHERED in part._cp_plan and hasattr(getattr(part, GATHERED), "base_layer"):
        words = f"A LoRA changes the layer '{GATHERED}', where several GPUs put together what they have: leave out --set gpus."
        raise InvalidRequest("loras", words)
    timestep = kwargs.get("timestep")
    return args, {**kwargs, "timestep": timestep[:, 0]} if timestep is not None and timestep.shape[1:] == (1,) else kwargs


def plan_of(transformer: Any) -> dict[str, Any]:
    """Return which of a transformer's tensors are divided: as its class says, but for the text, and for layers that it lacks."""
    from diffusers.models._modeling_parallel import ContextParallelInput

    layers = {name for name, _ in transformer.named_modules()}
    plan = {name: one for name, one in transformer._cp_plan.items() if "*" in name or name in layers}
    first = plan.get("", {})
    if "encoder_hidden_states" in first:  # and where each token has its own time, those are divided as the tokens are
        time_ = {"timestep": ContextParallelInput(split_dim=1, expected_dims=2)}
        plan[""] = {name: one for name, one in first.items() if not name.startswith("encoder_")} | time_
    return plan


def _words(error: Exception, rank: int) -> dict[str, Any]:
    """Return an error as JSON, for whoever started this process to raise."""
    import traceback

    from unstrung.models.hub.adapter import _is_out_of_memory

    if isinstance(error, AssertionError) and UNEVEN in str(error):
        words = "option gpus divides the film's tokens, and their number at this size and length is no multiple of it"
        error = InvalidRequest("options", f"{words}: take another size or length, or leave gpus out.")
    elif _is_out_of_memory(error):
        error = NotEnoughMemory(f"Memory ran out in process {rank + 1}: ask for less, or leave out --set gpus.")
    elif not isinstance(error, UnstrungError):
        traceback.print_exception(error)
        said = str(error).strip().partition("\n")[0]
        error = UnstrungError(FAILED, None, f"Process {rank + 1} could not go on: {type(error).__name__}: {said}")
    return {"type": type(error).__name__, "code": error.code, "field": error.field, "message": error.message}


if __name__ == "__main__":
    main(int(sys.argv[1]))
