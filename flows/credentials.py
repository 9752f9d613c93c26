"""The block that holds an account's token, so that a token is never a parameter: only the block's name is.

Prefect keeps its value encrypted, and masks it wherever it is shown.
"""

from __future__ import annotations

import logging

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from fluxbatch.errors import UsageError
from fluxbatch.settings import DEFAULT_BASE_URL, Settings

log = logging.getLogger("fluxbatch.flow")

DEFAULT_BLOCK = "cloudflare"


class CloudflareCredentials(Block):
    """An account of Cloudflare, and a token: Workers AI: Read, and for reconcile Account Analytics: Read as well."""

    _block_type_name = "Cloudflare Credentials"
    _block_type_slug = "cloudflare-credentials"
    _description = "The Cloudflare account that pays for pictures. The token needs the permission Workers AI: Read."

    account_id: str = Field(
        title="Account id", pattern="^[0-9a-f]{32}$", description="32 hex digits, in the dashboard's address"
    )
    api_token: SecretStr = Field(title="API token", description="With the permission Workers AI: Read")
    base_url: str = Field(DEFAULT_BASE_URL, title="Base URL", description="Another one for a proxy or a simulator only")


async def with_credentials(settings: Settings, name: str | None) -> Settings:
    """The settings with the account of the block of this name; of the default block, when there is one, for None; or
    as they are, with what the environment says. UsageError when a block that is named is not there."""
    try:
        block: CloudflareCredentials = await CloudflareCredentials.aload(name or DEFAULT_BLOCK)
    except ValueError:  # what Prefect raises for a block that it does not have
        if name is None:
            return settings
        raise UsageError(
            f"there is no Cloudflare Credentials block named {name!r}; `fluxbatch prefect setup --block {name}` makes "
            "one from CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_API_TOKEN, or leave credentials empty"
        ) from None
    log.info("the account is that of the block %s", name or DEFAULT_BLOCK)
    account = {"account_id": block.account_id, "api_token": block.api_token, "base_url": block.base_url}
    return settings.model_copy(update=account)
