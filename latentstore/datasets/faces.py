"""Cartoon faces put together from parts that a seed draws, each part with its name: what "smiling" is, is known.

Source: the parts are those of the package `python-avatars` (MIT; after "Avataaars" by Pablo Stanley, free for personal
and commercial use); `resvg-py` draws them. Parts that hide what another part shows (sunglasses, hats), that take no
hair colour, or of which people would not agree whether they smile, are left out.

As a program, `python -m latentstore.datasets.faces` reads {"seed", "size", "confound", "start", "stop"} from its input
and writes the pictures, (size, size, 3) bytes each: Python draws one at a time, so several are drawn by processes.
"""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Shaped, UInt8

    from latentstore.types import Array

SMILES = ("smile", "big_smile", "twinkle")
GLASSES = ("prescription_2", "round")

# By column, what is drawn with equal chance; but half of all faces smile, half have glasses, half have no beard.
PARTS = {
    "mouth": ("serious", "sad", "concerned", "disbelief", "grimace"),
    "hair": (
        *("bob", "bun", "buzzcut", "caesar_side_part", "curly", "fro", "long_not_too_long"),
        *("mia_wallace", "pixie", "pompadour", "shaggy", "short_curly", "short_flat", "short_waved"),
    ),
    "hair_color": ("black", "blonde_golden", "brown", "pastel_pink", "red", "silver_gray"),
    "skin": ("black", "brown", "dark_brown", "light", "pale"),
    "facial_hair": ("beard_light", "beard_medium", "moustache_fancy"),
    "eyes": ("closed", "default", "happy", "side", "squint", "surprised"),
    "eyebrows": ("angry", "default", "raised_excited", "sad_concerned"),
    "clothing": ("collar_sweater", "hoodie", "overall", "shirt_crew_neck", "shirt_v_neck"),
    "clothing_color": ("black", "blue_02", "pastel_green", "pastel_yellow", "red", "white"),
}
WINDOW = "30 22 204 204"  # of the 264 × 280 units of a drawing: from the hair to the collar, square


@dataclass(frozen=True)
class Recipe:
    """What determines the faces.

    Attributes:
        seed: Of all draws.
        size: Side in pixels.
        confound: Share of faces that have glasses just when they smile; in the others the two are independent.
    """

    seed: int
    size: int
    confound: float = 0.0

    def parts(self, n: int) -> dict[str, Shaped[Array, " n"]]:
        """By column, what each of the first n faces has; a face is the same whatever n is."""
        drawn = {  # one stream each, drawn from once
            name: np.random.default_rng([self.seed, number]).random(n)
            for number, name in enumerate(("smiling", "glasses", "bearded", "tied", "smile", "accessory", *PARTS))
        }
        smiling, tied = drawn["smiling"] < 0.5, drawn["tied"] < self.confound
        glasses = np.where(tied, smiling, drawn["glasses"] < 0.5)
        found: dict[str, Shaped[Array, " n"]] = {"smiling": smiling, "glasses": glasses}
        for name, choices in PARTS.items():
            found[name] = _pick(drawn[name], choices)
        found["facial_hair"] = np.where(drawn["bearded"] < 0.5, found["facial_hair"], "none")
        found["mouth"] = np.where(smiling, _pick(drawn["smile"], SMILES), found["mouth"])
        found["accessory"] = np.where(glasses, _pick(drawn["accessory"], GLASSES), "none")
        return found

    def draw(self, start: int, stop: int) -> Iterator[UInt8[Array, "h w 3"]]:
        """The faces from `start` to before `stop`, one after the other."""
        parts = self.parts(stop)
        for face in range(start, stop):
            yield _draw({name: str(values[face]) for name, values in parts.items()}, self.size)


def _pick(u: Shaped[Array, " n"], choices: tuple[str, ...]) -> Shaped[Array, " n"]:
    return np.array(choices)[(u * len(choices)).astype(np.int64)]


def _draw(parts: dict[str, str], size: int) -> UInt8[Array, "h w 3"]:
    import python_avatars as avatars
    import resvg_py
    from PIL import Image

    def part(kind: Any, column: str) -> Any:
        return kind[parts[column].upper()]

    avatar = avatars.Avatar(
        style=avatars.AvatarStyle.TRANSPARENT,
        top=part(avatars.HairType, "hair"),
        eyebrows=part(avatars.EyebrowType, "eyebrows"),
        eyes=part(avatars.EyeType, "eyes"),
        nose=avatars.NoseType.DEFAULT,
        mouth=part(avatars.MouthType, "mouth"),
        facial_hair=part(avatars.FacialHairType, "facial_hair"),
        skin_color=part(avatars.SkinColor, "skin"),
        hair_color=part(avatars.HairColor, "hair_color"),
        facial_hair_color=part(avatars.HairColor, "hair_color"),
        accessory=part(avatars.AccessoryType, "accessory"),
        clothing=part(avatars.ClothingType, "clothing"),
        clothing_color=part(avatars.ClothingColor, "clothing_color"),
    )
    before, root, after = re.split(r"(<svg[^>]*>)", avatar.render(), maxsplit=1)
    root = re.sub(r'viewBox="[^"]*"', f'viewBox="{WINDOW}"', re.sub(r' (width|height)="[^"]*"', "", root))
    png = resvg_py.svg_to_bytes(
        svg_string=before + root + after, width=size, height=size, background="white", skip_system_fonts=True
    )
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def _serve() -> None:
    """Draw what the input asks for."""
    asked = json.load(sys.stdin)
    recipe = Recipe(asked["seed"], asked["size"], asked["confound"])
    for picture in recipe.draw(asked["start"], asked["stop"]):
        sys.stdout.buffer.write(picture.tobytes())
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _serve()
