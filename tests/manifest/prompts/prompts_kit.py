"""What the tests of prompt templates share."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from fluxbatch.manifest.prompts import PromptTemplateError, Wildcards, compile_prompt

NO_VALUES: Mapping[str, object] = {}


def all_prompts(source: object, lists: Mapping[str, list[str]] | None = None, values: Mapping[str, object] = NO_VALUES):
    """Every prompt of a template, by number."""
    template = compile_prompt(source, Wildcards(lists))
    return [template.render(values, choice) for choice in range(template.count())]


def complaints(source: object, wildcards: Wildcards | None = None) -> list[str]:
    """What is wrong with a template, each as it is shown."""
    with pytest.raises(PromptTemplateError) as caught:
        compile_prompt(source, wildcards or Wildcards())
    return [str(trouble) for trouble in caught.value.troubles]
