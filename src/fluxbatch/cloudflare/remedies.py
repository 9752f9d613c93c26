"""What to do about what stops a run, as sentences."""

CHECK_ACCESS = (
    "check CLOUDFLARE_API_TOKEN: it has to be valid for this account and have the permission Workers AI: Read "
    "(and Edit, where it is asked for)"
)
ACCOUNT = "check CLOUDFLARE_ACCOUNT_ID (32 hexadecimal digits, in the dashboard's address) and CLOUDFLARE_BASE_URL"
MODEL = "check the model's name, or choose another model"
NOT_ALLOWED = "the account may not use this model: accept its terms in the dashboard, or choose another model"
METHOD = "Cloudflare no longer takes this kind of request: update fluxbatch, and check CLOUDFLARE_BASE_URL"
BALANCE = "the account has no balance: check its billing page in the Cloudflare dashboard"
BLOCKED = "Cloudflare does not serve this account: see its dashboard, or ask Cloudflare's support"
