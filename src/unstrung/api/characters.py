"""The routes of `/v1/videos/characters`: who is in a short video, for prompts to speak of by name."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Path
from starlette.datastructures import UploadFile

from unstrung.api.body import BODY, Fields, takes
from unstrung.api.callers import Caller
from unstrung.api.desk import Desk
from unstrung.api.given import Intake
from unstrung.api.schema import Character, CharacterDeleted, CharacterList, CreateCharacter, read_fields
from unstrung.errors import InvalidRequest, UnstrungError
from unstrung.jobs.uploads import LONGEST_NAME, Upload, get_upload, list_uploads

Id = Annotated[str, Path(description="A character's id.", max_length=200)]


def add_routes(app: FastAPI, desk: Desk) -> None:
    """Add the routes that make, show and remove characters."""
    reads, writes = desk.asker("read"), desk.asker("write")

    @app.post("/v1/videos/characters", openapi_extra=takes(CreateCharacter, "multipart/form-data"))
    def create_character(caller: Caller = writes, fields: Fields = BODY) -> Character:
        """Keep who is in a short video, by a name."""
        video = fields.pop("video", None)
        if not isinstance(video, UploadFile):
            raise InvalidRequest("video", "A character is made from a video: send its file.", code="missing_required_parameter")
        name = read_fields(fields, "name")["name"].strip()
        if not 1 <= len(name) <= LONGEST_NAME:
            raise InvalidRequest("name", f"A character's name has 1 to {LONGEST_NAME} letters.")
        with Intake(desk, caller) as sent:
            character = sent.take(video.file.read(), "character", "video", name)
            with desk.store.changing() as connection:
                sent.keep(connection)
        return _show(character)

    @app.get("/v1/videos/characters")
    def list_characters(caller: Caller = reads) -> CharacterList:
        """List one's characters."""
        return CharacterList(data=[_show(found) for found in list_uploads(desk.store, caller.sees, "character")])

    @app.get("/v1/videos/characters/{character_id}")
    def retrieve_character(character_id: Id, caller: Caller = reads) -> Character:
        """See a character."""
        return _show(_character(desk, character_id, caller))

    @app.delete("/v1/videos/characters/{character_id}")
    def delete_character(character_id: Id, caller: Caller = writes) -> CharacterDeleted:
        """Remove a character, unless a video that is here was made with it."""
        desk.remove_upload(_character(desk, character_id, caller).id, caller)
        return CharacterDeleted(id=character_id)


def _character(desk: Desk, id: str, caller: Caller) -> Upload:
    found = get_upload(desk.store, id, caller.sees)
    if found.kind != "character":
        raise UnstrungError("not_found", "id", f"There is no upload or character '{id}'.")
    return found


def _show(upload: Upload) -> Character:
    return Character(id=upload.id, name=upload.name or "", created_at=int(upload.created_at))
