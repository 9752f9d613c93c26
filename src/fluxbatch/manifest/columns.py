"""The header: which column is which parameter, which are the user's own, and what looks like a mistake. Pure."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from fluxbatch.errors import UsageError
from fluxbatch.manifest.values import Trouble, shown
from fluxbatch.models.catalogue import REFERENCES

REFERENCE_COLUMNS = REFERENCES
REFERENCES_MAX = len(REFERENCE_COLUMNS)
PARAMETERS = (
    *("prompt", "id", "model", "width", "height", "steps", "guidance", "seed", "samples", "sample"),
    *("negative_prompt", "strength"),
    *REFERENCE_COLUMNS,
)
COLUMNS_MAX = 2_000

_ELSEWHERE: Mapping[str, tuple[str, ...]] = {
    "prompt": ("positive_prompt", "prompt_text", "text_prompt"),
    "model": ("model_id", "model_name"),
    "width": ("w", "image_width", "img_width"),
    "height": ("h", "image_height", "img_height"),
    "steps": ("step", "n_steps", "num_steps", "inference_steps", "num_inference_steps", "sampling_steps"),
    "negative_prompt": ("negative", "neg_prompt", "negative_prompts", "prompt_negative", "uncond_prompt"),
    "strength": ("denoise", "denoising", "denoising_strength", "image_strength", "img2img_strength"),
    "guidance": ("cfg", "cfg_scale", "guidance_scale"),
    "seed": ("random_seed", "rng_seed", "noise_seed"),
    "samples": ("n_samples", "num_samples", "n_images", "num_images", "images_per_prompt", "num_images_per_prompt"),
    "input_image_0": ("input_image", "image", "reference", "reference_image", "ref_image", "init_image"),
    **{name: (f"image_{index}", f"reference_{index}") for index, name in enumerate(REFERENCE_COLUMNS) if index},
}
"""What other tools call a parameter."""

_UNSENDABLE = ("sampler", "scheduler", "size", "resolution", "aspect_ratio")
"""What other tools take and no model here does: it would be paid for and ignored."""

_MAYBE_PROMPT = ("text", "caption", "captions", "description")


def _squashed(header: str) -> str:
    return re.sub(r"[\s\-._]+", "", header.casefold().lstrip("\ufeff"))


_LOOKALIKES: Mapping[str, str | None] = {
    **{_squashed(name): None for name in _UNSENDABLE},
    **{_squashed(f"{stem}_0"): "input_image_0" for stem in ("image", "reference")},
    **{_squashed(alias): name for name, aliases in _ELSEWHERE.items() for alias in aliases},
    **{_squashed(name): name for name in PARAMETERS},
}
_CLOSE = tuple(name for name in PARAMETERS if name not in REFERENCE_COLUMNS and len(name) >= 4)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each thing stands in a row: `parameters` maps a parameter to a position, `own` are positions."""

    headers: tuple[str, ...]
    parameters: Mapping[str, int]
    own: tuple[int, ...]
    troubles: tuple[Trouble, ...]

    def header(self, parameter: str) -> str:
        """What the file calls this parameter; its own name where the file has no such column."""
        position = self.parameters.get(parameter)
        return parameter if position is None else self.headers[position]


def lay_out(
    headers: Sequence[str], columns: Mapping[str, str], own: Collection[str], reserved: Collection[str]
) -> Layout:
    """Sort the headers into parameters and own columns. A suspicious header counts as own."""
    _check_options(columns, own)
    if len(headers) > COLUMNS_MAX:
        raise UsageError(f"the manifest has {len(headers)} columns; at most {COLUMNS_MAX} can be carried along")
    first = {header: position for position, header in reversed(list(enumerate(headers)))}
    parameters = {
        name: first[header]
        for name in PARAMETERS
        if (header := columns.get(name, name)) in first
        and (name in columns or (header not in own and header not in columns.values()))
    }
    rest = [position for header, position in sorted(first.items(), key=lambda it: it[1]) if header]
    kept = tuple(position for position in rest if position not in parameters.values())
    troubles = [
        *_unnamed(headers),
        *_missing(headers, columns, parameters, own),
        *(trouble for position in kept if (trouble := _own_trouble(headers[position], parameters, own, reserved))),
    ]
    return Layout(tuple(headers), parameters, kept, tuple(troubles))


def _check_options(columns: Mapping[str, str], own: Collection[str]) -> None:
    for name, header in columns.items():
        if name not in PARAMETERS:
            raise UsageError(f"--column {name}={header}: {name!r} is no parameter; take one of {', '.join(PARAMETERS)}")
        if header in own:
            raise UsageError(f"{header!r} is given to --column and to --own; it can be one of them")
    if len(set(columns.values())) < len(columns):
        raise UsageError("--column names the same header twice; a column can be one parameter")


def _unnamed(headers: Sequence[str]) -> list[Trouble]:
    troubles = [
        Trouble(None, f"column {position} has no name", "name it (pandas: write with index=False)")
        for position, header in enumerate(headers, 1)
        if not header
    ]
    twice = [header for position, header in enumerate(headers) if header and header in headers[:position]]
    return troubles + [
        Trouble(header, "the header has this name more than once", "rename or remove one of them")
        for header in dict.fromkeys(twice)
    ]


def _missing(
    headers: Sequence[str], columns: Mapping[str, str], parameters: Mapping[str, int], own: Collection[str]
) -> list[Trouble]:
    absent = [name for name in columns if name not in parameters]
    troubles = [
        Trouble(columns[name], f"there is no such column to take {name} from", _closest(columns[name], headers))
        for name in absent
    ]
    if "prompt" in parameters or "prompt" in absent:
        return troubles
    likely = next((h for h in headers if h not in own and _parameter_like(h) == "prompt"), None)
    likely = likely or next((h for h in headers if _squashed(h) in _MAYBE_PROMPT), None)
    if likely is not None:
        problem = f"there is no prompt column, but {shown(likely)} looks like one"
        return [*troubles, Trouble(likely, problem, f"name it: {_column_option('prompt', likely)}")]
    return [*troubles, Trouble(None, f"there is no prompt column ({_some(headers)})", _prompt_remedy(headers))]


def _prompt_remedy(headers: Sequence[str]) -> str:
    separator = next((mark for mark in ";\t|" if len(headers) == 1 and mark in headers[0]), None)
    if separator is not None:
        return f"the cells seem to be separated by {separator!r}; save the file with commas, or with tabs as .tsv"
    return "say which one it is: --column prompt=HEADER"


def _own_trouble(
    header: str, parameters: Mapping[str, int], own: Collection[str], reserved: Collection[str]
) -> Trouble | None:
    if header in own:
        meant, suspicious = None, False
    else:
        meant = _parameter_like(header)
        suspicious = meant is not None or _unsendable(header)
    if suspicious and not (meant == "prompt" and "prompt" not in parameters):
        keep = "rename it" if header in reserved else f"keep it as your own: --own {shlex.quote(header)}"
        if meant is None:
            problem = "this is no parameter of these models: it would not be sent"
            return Trouble(header, problem, f"{_instead(header)}remove it, or {keep}")
        if meant in parameters:
            return Trouble(header, f"this looks like {meant}, which is given already", f"remove it, or {keep}")
        return Trouble(header, f"this looks like {meant}", f"name it: {_column_option(meant, header)}, or {keep}")
    if header in reserved and not suspicious:
        return Trouble(header, "the dataset has a column of this name already", "rename it in the manifest")
    return None


def _parameter_like(header: str) -> str | None:
    """The parameter that a header seems to mean, or None."""
    squashed = _squashed(header)
    if squashed in _LOOKALIKES:
        return _LOOKALIKES[squashed]
    near = difflib.get_close_matches(squashed, _CLOSE, n=1, cutoff=0.8)
    return near[0] if near and len(squashed) >= 4 and near[0][0] == squashed[0] else None


def _unsendable(header: str) -> bool:
    squashed = _squashed(header)
    return squashed in _LOOKALIKES or squashed.startswith("inputimage")


def _instead(header: str) -> str:
    if _squashed(header) in ("size", "resolution", "aspectratio"):
        return "write width and height, and "
    if _squashed(header).startswith("inputimage"):
        return f"at most {REFERENCES_MAX} references are taken ({REFERENCE_COLUMNS[0]} to {REFERENCE_COLUMNS[-1]}): "
    return ""


def _closest(header: str, headers: Sequence[str]) -> str:
    near = difflib.get_close_matches(header, headers, n=1)
    return f"did you mean {shown(near[0])}? The file has {_some(headers)}" if near else f"the file has {_some(headers)}"


def _some(headers: Sequence[str]) -> str:
    names = ", ".join(headers[:12])
    return f"columns: {names[:200]}{' …' if len(headers) > 12 or len(names) > 200 else ''}"


def _column_option(parameter: str, header: str) -> str:
    return f"--column {shlex.quote(f'{parameter}={header}')}"
