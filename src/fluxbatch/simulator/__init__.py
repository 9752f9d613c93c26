"""A Cloudflare that costs nothing: the same wire, a bill, faults from a script."""
