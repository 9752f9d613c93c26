"""`--scorer` as it was written -> a scorer. What cannot be loaded is a UsageError that says what to do."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from fluxbatch.errors import UsageError
from fluxbatch.plain import plain
from fluxbatch.scores.protocol import Scorer, check_scorer

EXTRA = "pip install 'fluxbatch[score]'"
_FORMS = "write clip=FOLDER, aesthetic=FOLDER, or your own as package.module:Class"


def scorer_of(written: str) -> Scorer:
    """Open what `--scorer` names: one of ours with its folder, or a class (or an instance) of one's own."""
    name, is_ours, folder = written.partition("=")
    if is_ours:
        return _ours(name, Path(folder), written)
    module, is_own, attribute = written.partition(":")
    if not is_own or not module or not attribute:
        raise UsageError(f"--scorer {plain(written, 200)}: {_FORMS}")
    return _own(module, attribute, written)


def _ours(name: str, folder: Path, written: str) -> Scorer:
    if name not in ("clip", "aesthetic"):
        raise UsageError(f"--scorer {plain(written, 200)}: there is no scorer {plain(name, 40)}; {_FORMS}")
    if not folder.is_dir():
        raise UsageError(
            f"--scorer {plain(written, 200)}: there is no such folder; give one with the model's ONNX files"
        )
    try:
        from fluxbatch.scores.clip import Aesthetic, Clip
    except ModuleNotFoundError as error:
        raise UsageError(f"--scorer {name} needs {error.name}, which is not installed: {EXTRA}") from None
    return Clip(folder) if name == "clip" else Aesthetic(folder)


def _own(module: str, attribute: str, written: str) -> Scorer:
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)  # as `python -m` has it; an installed command does not
    try:
        found = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"--scorer {plain(written, 200)}: there is no module {error.name}; is it installed, or here?"
        ) from None
    except AttributeError:
        raise UsageError(f"--scorer {plain(written, 200)}: the module {module} has no {plain(attribute, 80)}") from None
    scorer = found() if isinstance(found, type) else found
    lacking = [name for name in ("name", "columns", "identity", "score") if not hasattr(scorer, name)]
    if lacking:
        raise UsageError(
            f"--scorer {plain(written, 200)}: it is no scorer, because it has no {', '.join(lacking)} "
            "(see fluxbatch.scores.Scorer)"
        )
    check_scorer(scorer, written)
    return scorer  # type: ignore[no-any-return]
