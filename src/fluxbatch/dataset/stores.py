"""Which store an address means, opened with what the environment says, and what its refusals mean for a user.

s3://  AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL(_S3), or
       whatever else the AWS SDK finds (~/.aws, a role)
gs://  GOOGLE_APPLICATION_CREDENTIALS, or Google's other default credentials
az://  AZURE_STORAGE_ACCOUNT with AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN, or Azure's default credentials

Keys come from there only, and never go anywhere else.
"""

from __future__ import annotations

import errno
import os
import re
import tempfile
from datetime import timedelta
from functools import lru_cache

from pyarrow import fs

from fluxbatch.errors import StorageError, UsageError

SCHEMES = ("s3", "gs", "az")
CONNECT_S = 5.0
"""The SDK's default of 1 s is too short for a store on another continent."""
ATTEMPTS = 3
"""A put is idempotent, so the SDK may try it again; that is the only retry there is here."""
RETRY_S = 30
"""GCS' default is 15 minutes, in which a run would go on spending."""

_VARIABLES = re.compile(r"AWS_|AZURE_|GOOGLE_")
_SECRETS = re.compile(r"AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN)|AZURE_STORAGE_(KEY|SAS_TOKEN)")
_KEY_SHAPES = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b|[?&]sig=[^&\s]+")
SECRET_MIN = 4
_PREAMBLE = re.compile(r"^When .*?(?=AWS Error)| \(Request ID: [^)]*\)")
"""What stands around the store's own words: the place is named already."""

_CREDENTIALS = (
    "give it good keys (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, with temporary ones AWS_SESSION_TOKEN too; "
    "GOOGLE_APPLICATION_CREDENTIALS; AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY)"
)
_REMEDIES = (
    (r"NO_SUCH_BUCKET|bucket does not exist|ContainerNotFound", "make the bucket, or correct the address; with a wrong "
     "AWS_REGION or AWS_ENDPOINT_URL it is looked for in the wrong place"),
    (r"EXPIRED|[Ee]xpired", "the keys have expired: renew them"),
    (r"INVALID_ACCESS_KEY|SIGNATURE|INVALID_CLIENT_TOKEN|UNAUTHORIZED|MISSING_AUTH|credential", _CREDENTIALS),
    (r"ACCESS_DENIED|Forbidden|AuthorizationPermissionMismatch|PERMISSION_DENIED",
     "these keys may not do this: allow them to put, get, list and delete below the address (s3:PutObject, "
     "s3:GetObject, s3:ListBucket, s3:DeleteObject)"),
    (r"PERMANENT_REDIRECT|MOVED|AuthorizationHeaderMalformed|region",
     "set AWS_REGION to the bucket's region (R2: auto)"),
    (r"NETWORK_CONNECTION|curlCode|[Cc]ould not (connect|resolve)|timeout",
     "look at the network and at AWS_ENDPOINT_URL"),
)  # fmt: skip
_OTHERWISE = "look at the store, then run the same command again: it goes on from what is kept"


def opened_store(scheme: str) -> fs.FileSystem:
    """The file system behind a scheme, as the environment is now. UsageError says what is not set."""
    given = {name: value for name, value in os.environ.items() if _VARIABLES.match(name)}
    return _opened(scheme, tuple(sorted(given.items())))


@lru_cache(maxsize=8)
def _opened(scheme: str, variables: tuple[tuple[str, str], ...]) -> fs.FileSystem:
    given = dict(variables)
    if scheme == "gs":
        return fs.GcsFileSystem(retry_time_limit=timedelta(seconds=RETRY_S))
    return _azure(given) if scheme == "az" else _s3(given)


def _s3(given: dict[str, str]) -> fs.FileSystem:
    endpoint = given.get("AWS_ENDPOINT_URL_S3") or given.get("AWS_ENDPOINT_URL")
    region = given.get("AWS_REGION") or given.get("AWS_DEFAULT_REGION")
    if endpoint is not None:
        # R2 and others do not know the checksums that newer SDKs send with every put; ours are in every file.
        os.environ.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    return fs.S3FileSystem(
        endpoint_override=endpoint,
        region=region or (None if endpoint is None else "us-east-1"),
        connect_timeout=CONNECT_S,
        allow_delayed_open=True,  # up to PIECE_BYTES are one put, not an upload of three requests
        background_writes=False,  # what fails is heard where it is written
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
    )


def _azure(given: dict[str, str]) -> fs.FileSystem:
    account = given.get("AZURE_STORAGE_ACCOUNT")
    if not account:
        raise UsageError("not set: AZURE_STORAGE_ACCOUNT (the account that the container of az://… is in)")
    key, token = given.get("AZURE_STORAGE_KEY"), given.get("AZURE_STORAGE_SAS_TOKEN")
    return fs.AzureFileSystem(account, account_key=key, sas_token=None if key else token)


def store_error(place: str, error: Exception, what: str) -> StorageError:
    """The error for a user: which object, what the store said (no key in it), and what to do."""
    said = _PREAMBLE.sub("", without_keys(" ".join(str(error).split())))
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        folder = tempfile.gettempdir()
        return StorageError(f"{place}: {what}: no space for its draft in {folder}; free some there, or set TMPDIR")
    remedy = next((remedy for pattern, remedy in _REMEDIES if re.search(pattern, said)), _OTHERWISE)
    return StorageError(f"{place}: {what}: {said}; {remedy}")


def without_keys(text: str) -> str:
    """The text without any key that the environment has, and without what looks like one."""
    for name, value in os.environ.items():
        if _SECRETS.fullmatch(name) and len(value) >= SECRET_MIN:
            text = text.replace(value, "[key]")
    return _KEY_SHAPES.sub("[key]", text)
