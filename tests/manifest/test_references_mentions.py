"""A prompt that speaks of "image N": when that is refused, when it is said, and when it means something else."""

from __future__ import annotations

import pytest

from fluxbatch.manifest.mentions import Absent, absent

TABLE = (
    # prompt, references, surely absent, perhaps absent
    ("put the cat of image 0 on the sofa of image 1", 2, (), ()),
    ("put the cat of image 1 on the sofa of image 2", 2, (2,), ()),
    ("make image 1 blue", 1, (1,), ()),
    ("Image 3 in the style of IMAGE 0", 2, (3,), ()),
    ("blend images 0 and 1", 2, (), ()),
    ("blend images 1 and 2", 2, (2,), ()),
    ("take images 0, 1, 2 and 3", 2, (2, 3), ()),
    ("take images 0-2 as a guide", 2, (2,), ()),
    ("use image #2, please.", 2, (2,), ()),
    ("use image_2 and input_image_3", 2, (2, 3), ()),
    ("the pose of reference image 2", 2, (2,), ()),
    ("image2: the background", 2, (2,), ()),
    ('{"scene": "the fox of image 4"}', 1, (4,), ()),
    ("image 0 and 2 foxes", 1, (), (2,)),
    ("image 3 of a series", 2, (), (3,)),
    ("the image 2 is a mirror of it", 2, (), (2,)),
    ("a still from image 12", 2, (), (12,)),
    ("saved as image-5", 2, (), (5,)),
    ("an image 1024x768 of a fox", 2, (), ()),
    ("an image 1024 \xd7 768 of a fox", 2, (), ()),
    ("a wide image 16:9, image 4k, image 2.5", 1, (), ()),
    ("an image 3 meters wide, an image 50% grey", 1, (), ()),
    ("saved as image 7.png, imagery 5, pilgrimage 3", 1, (), ()),
    ("a nice image\n2. a fox", 1, (), ()),
    ("a fox", 0, (), ()),
    ("make image 0 blue", 0, (0,), ()),
    ("image 3 of a series", 0, (), (3,)),
)


@pytest.mark.parametrize(("prompt", "references", "surely", "perhaps"), TABLE)
def test_what_a_prompt_speaks_of_that_is_not_there(
    prompt: str, references: int, surely: tuple[int, ...], perhaps: tuple[int, ...]
) -> None:
    assert absent(prompt, references) == Absent(surely, perhaps)
