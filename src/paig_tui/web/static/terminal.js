// A terminal over one WebSocket; web/terminal.py says what is spoken on it.
const nonce = document.querySelector("script[nonce]").nonce;
const create = document.createElement.bind(document);
document.createElement = (name, options) => {
  // xterm.js makes style elements; the page's policy takes them by their nonce.
  const made = create(name, options);
  if (name === "style") made.nonce = nonce;
  return made;
};

const { Terminal } = await import("/static/xterm/xterm.mjs");
const { FitAddon } = await import("/static/xterm/addon-fit.mjs");
const { UnicodeGraphemesAddon } = await import("/static/xterm/addon-unicode-graphemes.mjs");

const find = (id) => document.getElementById(id);
const EXITED = 1000, FAILED = 1011, PROTOCOL_ERROR = 4000, LOGGED_OUT = 4001, FULL = 4002;
const ENDS = {
  [EXITED]: "The session has ended.",
  [FAILED]: "The terminal failed; `paig tui --web` says why where it runs.",
  [PROTOCOL_ERROR]: "This page and the server do not understand each other: reload the page.",
  [FULL]: "Too many terminals are open: close another one first.",
};

const terminal = new Terminal({
  allowProposedApi: true,
  fontFamily: 'ui-monospace, "SF Mono", Menlo, "Cascadia Mono", Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace',
  fontSize: 14,
  scrollback: 0,
  linkHandler: { activate: (event, url) => offer(url) },
  theme: { background: "#0e1116", foreground: "#d8dee9" },
});
const fit = new FitAddon();
terminal.loadAddon(fit);
terminal.loadAddon(new UnicodeGraphemesAddon());
terminal.open(find("screen"));

let socket = null;
let failures = 0;
let retry = null;

const speak = (content) => socket?.readyState === WebSocket.OPEN && socket.send(content);
const size = () => [terminal.cols, terminal.rows];

function connect() {
  clearTimeout(retry);
  veil("Starting …");
  fit.fit();
  let shown = false;
  socket = new WebSocket(`${location.origin.replace("http", "ws")}/terminal`);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => {
    speak(JSON.stringify({ proof: localStorage.getItem("paig-proof") ?? "", size: size() }));
    speak(JSON.stringify({ focus: document.hasFocus() }));
  };
  socket.onmessage = ({ data }) => {
    if (typeof data === "string") {
      const said = JSON.parse(data);
      if (said.open) offer(said.open);
      if (said.download) download(said.download);
      return;
    }
    if (!shown) {
      shown = true;
      failures = 0;
      terminal.reset();
      find("veil").hidden = true;
      terminal.focus();
    }
    terminal.write(new Uint8Array(data));
  };
  socket.onclose = ({ code }) => {
    bar();
    if (code === LOGGED_OUT) location.replace("/login");
    else if (code in ENDS) veil(ENDS[code], true);
    else lost();
  };
}

// The connection is gone, or there never was one. Without a login the server has a page that says what to do.
async function lost() {
  try {
    if ((await fetch("/")).status === 401) return location.replace("/login");
  } catch {
    // it does not answer: try again below
  }
  const seconds = Math.min(2 ** failures++, 15);
  veil(`The connection is lost. Trying again in ${seconds} s …`, true);
  retry = setTimeout(connect, seconds * 1000);
}

function veil(text, over = false) {
  find("veil-text").textContent = text;
  find("again").hidden = find("logout").hidden = !over;
  find("veil").hidden = false;
  if (over) find("again").focus();
}

// A line at the bottom: a text, and either a button or a link.
function bar(text = "", { button = null, act = null, link = null } = {}) {
  find("bar").hidden = !text;
  find("bar-text").textContent = text;
  find("bar-button").hidden = !button;
  find("bar-button").textContent = button ?? "";
  find("bar-button").onclick = act;
  find("bar-link").hidden = !link;
  find("bar-link").textContent = link ?? "";
  if (link) find("bar-link").href = link;
  else find("bar-link").removeAttribute("href");
}

// Nothing that the terminal shows opens a page by itself.
function offer(url) {
  if (/^https?:/i.test(url)) bar("Open", { link: url });
}

function download(key) {
  const link = create("a");
  link.href = `/download/${encodeURIComponent(key)}`;
  link.download = "";
  link.click();
}

// The terminal UI copies with OSC 52. What a browser does not let it copy by itself waits for a click, and not for long.
terminal.parser.registerOscHandler(52, (data) => {
  const encoded = data.slice(data.indexOf(";") + 1);
  if (encoded !== "?") copy(new TextDecoder().decode(Uint8Array.from(atob(encoded), (sign) => sign.charCodeAt(0))));
  return true;
});

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    bar();
  } catch {
    const forget = setTimeout(bar, 60_000);
    const act = async () => {
      clearTimeout(forget);
      try {
        await navigator.clipboard.writeText(text);
        bar();
      } catch {
        bar("This browser lets no page copy: reveal it, and copy by hand.");
      }
    };
    bar("To put it into the clipboard your browser wants a click:", { button: "Copy", act });
  }
}

const typed = new TextEncoder();
terminal.onData((data) => speak(typed.encode(data)));
terminal.onResize(() => speak(JSON.stringify({ size: size() })));
terminal.attachCustomKeyEventHandler((event) => {
  const chord = (event.ctrlKey || event.metaKey) && !event.altKey;
  const key = event.key.toLowerCase();
  if (chord && key === "v") return false; // the browser pastes
  if (chord && key === "c" && terminal.hasSelection()) return false; // the browser copies what is selected
  return true;
});
let settled = null;
new ResizeObserver(() => {
  clearTimeout(settled);
  settled = setTimeout(() => fit.fit(), 80);
}).observe(find("screen"));
addEventListener("focus", () => {
  speak(JSON.stringify({ focus: true }));
  if (find("veil").hidden) terminal.focus();
});
addEventListener("blur", () => speak(JSON.stringify({ focus: false })));
find("bar-close").onclick = () => {
  bar();
  terminal.focus();
};
find("bar-link").onclick = () => setTimeout(bar);
find("again").onclick = () => {
  failures = 0;
  connect();
};
find("logout").onclick = async () => {
  clearTimeout(retry);
  localStorage.removeItem("paig-proof");
  await fetch("/logout", { method: "POST" });
  location.replace("/login");
};

await document.fonts.ready;
connect();
