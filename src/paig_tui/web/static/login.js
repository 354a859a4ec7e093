// The token comes in the fragment, which no server, log or Referer sees. It is worth nothing once it was sent.
const said = document.getElementById("said");

async function enter() {
  const token = location.hash.slice(1);
  if (!token) return;
  history.replaceState(null, "", "/login");
  said.textContent = "Logging in …";
  try {
    const answer = await fetch("/login", { method: "POST", body: token });
    if (answer.ok) {
      localStorage.setItem("paig-proof", (await answer.json()).proof);
      location.replace("/");
    } else {
      said.textContent = await answer.text();
    }
  } catch {
    said.textContent = "paig does not answer. Is `paig tui --web` still running?";
  }
}

addEventListener("hashchange", enter);
enter();
