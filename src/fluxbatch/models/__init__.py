"""What can Cloudflare make, and at what price?"""
