"""The vocabulary that the gateway, the command line and the terminal UI share.

`specs` is what people write, in `paig.toml` or in a request body; `resources` is what the admin API answers; `limits`,
`errors` and `vocabulary` hold each word, default and code once. Nothing here does I/O, and nothing here imports another
part of paig. `paig_client.schema` exports all of it under the name that documentation uses.
"""
