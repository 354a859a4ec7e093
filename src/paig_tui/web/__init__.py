"""`paig tui --web`: the terminal UI in a browser.

A page with a terminal (xterm.js) connects by one WebSocket to this server. For each connection the server runs the
terminal UI in a child process, under Textual's web driver.

- `login` keeps links and logins; it does no I/O.
- `app` is the ASGI application: it checks each request and serves pages, the WebSocket and downloads.
- `terminal` relays between one WebSocket and its child process.
- `child` is one child process and the packets of Textual's driver; `inside` and `driver` run within it.
- `serve` runs the server: the socket, the printed link, the keys of the terminal it was started from.

Never true: a browser can do more than the terminal UI can; there is no shell.
"""
