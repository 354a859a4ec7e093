"""The vocabulary that the gateway, the command line and the terminal UI share.

`specs` is what people write, in `paig.toml` or in a request body; `resources` is what the admin API answers; `limits`,
`errors` and `vocabulary` hold each word, default and code once. `paig_client.schema` exports all of it under the name
that documentation uses.

Never true: something here does I/O or imports another part of paig; a word or a default is written a second time
elsewhere.
"""
