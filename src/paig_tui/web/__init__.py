"""`paig tui --web`: the terminal UI in a browser.

A page with a terminal in it (xterm.js) speaks over one WebSocket to this server, which runs the terminal UI as a child
process for each connection, under Textual's own web driver. No shell is anywhere: a browser can type into the terminal
UI, and can do what that can do.

- `login` says who may come in; it does no I/O.
- `app` is the ASGI callable: checks each request, serves pages, the WebSocket and downloads.
- `terminal` is one WebSocket: what comes from the browser goes to the child, and back.
- `child` is one child process and the packets that Textual's driver speaks; `inside` and `driver` run within it.
- `serve` puts it together: the socket, the link that is printed, the keys of the terminal it was started from.
"""
