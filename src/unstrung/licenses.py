"""What licences allow, as data: in our words, for people who want to know before they download. The licence's own text counts."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

UNREAD = "its terms were not read; read the model's page before you use it for money"
READ_IT = "not looked up; read it on its page"


@dataclass(frozen=True)
class License:
    """A licence in a few words: what it says of money, what it forbids, and what must be said where its models are used."""

    id: str
    name: str
    url: str
    commercial: str
    forbidden: str
    must_say: str

    @property
    def permissive(self) -> bool:
        """Say whether it lets everybody do everything but hide where a work came from; nobody needs to be asked then."""
        return self.id in PERMISSIVE

    def to_dict(self) -> dict[str, str]:
        """Return the licence as JSON types."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return the terms as lines to print."""
        page = [self.url] if self.url else []
        return [
            self.name,
            *page,
            f"for money: {self.commercial}",
            f"forbidden: {self.forbidden}",
            f"must be said: {self.must_say}",
        ]


PERMISSIVE = frozenset({"Apache-2.0", "MIT"})

LICENSES = {
    license.id: license
    for license in (
        License(
            id="Apache-2.0",
            name="Apache License 2.0",
            url="https://www.apache.org/licenses/LICENSE-2.0",
            commercial="allowed",
            forbidden="using the makers' trade marks; suing them over patents ends the patent licence",
            must_say="whoever passes the model on adds the licence and the notices, and says what was changed",
        ),
        License(
            id="MIT",
            name="MIT License",
            url="https://opensource.org/license/mit",
            commercial="allowed",
            forbidden="nothing",
            must_say="whoever passes the model on adds the licence and its copyright line",
        ),
        License(
            id="CogVideoX",
            name="The CogVideoX License",
            url="https://huggingface.co/zai-org/CogVideoX-5b/blob/main/LICENSE",
            commercial="only after registration with the makers, and up to 1 million visits a month; research is free",
            forbidden="military use; the rest: read it on its page",
            must_say=READ_IT,
        ),
        License(
            id="LTX-Video-OpenRAIL-M",
            name="LTX-Video's OpenRAIL-M licence, of version 0.9.5",
            url="https://huggingface.co/Lightricks/LTX-Video/blob/main/ltx-video-2b-v0.9.5.license.txt",
            commercial="allowed",
            forbidden="a list of uses, which binds whoever gets the model from you too; read it on its page",
            must_say=READ_IT,
        ),
        License(
            id="LTXV-Open-Weights-0.X",
            name="LTXV Open Weights License 0.X, of LTX-Video 0.9.6 and later",
            url="https://huggingface.co/Lightricks/LTX-Video/blob/main/LTX-Video-Open-Weights-License-0.X.txt",
            commercial="allowed; readers report that from $10 million a year on a paid licence is needed: read it on its page",
            forbidden="the uses in its Attachment A, by whoever gets the model from you too; read it on its page",
            must_say="readers report that films must be marked as made by a machine: read it on its page",
        ),
        License(
            id="LTX-2-Community",
            name="LTX-2.x Community License Agreement",
            url="https://github.com/Lightricks/LTX-2/blob/main/LICENSE-2_x",
            commercial="allowed below $10 million of revenue a year; from there on it needs a paid licence",
            forbidden="a list of uses: read it on its page. It covers their code too, and what is made from the model, as a LoRA",
            must_say="what is made from the model goes on under the same licence, with its text; the rest: read it on its page",
        ),
        License(
            id="Tencent-Hunyuan-Community",
            name="Tencent Hunyuan Community License Agreement",
            url="https://github.com/Tencent-Hunyuan/HunyuanVideo-1.5/blob/main/LICENSE",
            commercial="allowed where it applies; who has more than 100 million users a month must ask Tencent",
            forbidden="any use in the European Union, the United Kingdom and South Korea; a list of uses: read it on its page",
            must_say=READ_IT,
        ),
        License(
            id="see-card", name="See the model's page", url="", commercial=UNREAD, forbidden=READ_IT, must_say=READ_IT,
        ),
    )
}  # fmt: skip


def find_license(id: str) -> License:
    """Return a licence by the id that a card names; one that is not known here says so."""
    return LICENSES.get(id) or replace(LICENSES["see-card"], id=id, name=id)
