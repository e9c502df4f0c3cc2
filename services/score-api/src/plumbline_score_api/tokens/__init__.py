"""Bearer tokens of trusted OpenID Connect issuers: who is trusted, their keys, and what a token says of its caller."""
