"""The terminal UI: reads and changes the gateway through `paig_client` alone.

- `data/` is what the screens know: the state, and the poller that keeps it fresh. It shows nothing.
- `screens/` has a folder for each section; a screen draws the state and asks for changes.
- `widgets/` is what screens are made of; `web/` runs all of it in a browser.

Nothing is made up: what was not fetched is shown as unknown, and what is old is shown as old. Text from outside is
never read as markup. Every change can be undone or asks first.
"""
