"""The terminal UI: reads and changes the gateway through `paig_client` alone.

- `data/` holds the state that the screens show, and the poller that keeps it up to date. It draws nothing.
- `screens/` has a folder for each section; a screen draws the state and sends changes to the gateway.
- `widgets/` has the parts of screens, `text` formats values and draws bars; `web/` serves the terminal UI to browsers.

Values that were not fetched are shown as unknown, and old ones as old. Remote text is never parsed as markup. Every
change can be undone or is confirmed first.
"""
