"""What does a sweep's `prompt:` mean?"""

from fluxbatch.manifest.prompts.folder import open_wildcards
from fluxbatch.manifest.prompts.schema import FieldTrouble, check_json_prompt
from fluxbatch.manifest.prompts.template import PromptTemplate, compile_prompt
from fluxbatch.manifest.prompts.trouble import PromptTemplateError, TemplateTrouble
from fluxbatch.manifest.prompts.wildcards import Wildcards

__all__ = [
    "FieldTrouble",
    "PromptTemplate",
    "PromptTemplateError",
    "TemplateTrouble",
    "Wildcards",
    "check_json_prompt",
    "compile_prompt",
    "open_wildcards",
]
