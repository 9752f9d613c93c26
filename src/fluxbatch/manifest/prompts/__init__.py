"""What does a sweep's `prompt:` mean?"""

from fluxbatch.manifest.prompts.template import PromptTemplate, compile_prompt
from fluxbatch.manifest.prompts.trouble import PromptTemplateError, TemplateTrouble
from fluxbatch.manifest.prompts.wildcards import Wildcards, open_wildcards

__all__ = [
    "PromptTemplate",
    "PromptTemplateError",
    "TemplateTrouble",
    "Wildcards",
    "compile_prompt",
    "open_wildcards",
]
