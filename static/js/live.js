// Figures that renew themselves: a sign when they stand still, with the reason, and what is unfolded stays unfolded.
// Polling itself is in the templates (hx-trigger="every …"). Without this file pages show the figures of their moment.

const SILENT_AFTER = 20_000; // milliseconds; the price dot asks every five seconds
const sign = document.getElementById("stopped");

const isPoll = (place) => place?.getAttribute?.("hx-trigger")?.startsWith("every");
const clock = (when) => `${when.toISOString().slice(11, 19)} UTC`;

// --- What was unfolded -------------------------------------------------------------------------------------

let unfolded = [];
document.addEventListener("htmx:beforeSwap", () => {
  unfolded = [...document.querySelectorAll("#main details[open][id]")].map((one) => one.id);
});
document.addEventListener("htmx:afterSwap", () => {
  for (const id of unfolded) document.getElementById(id)?.setAttribute("open", "");
});

// --- The sign ----------------------------------------------------------------------------------------------

if (sign) {
  let answered = new Date();
  let isSignedOut = false;
  const failing = new Set(); // ids of what could not be renewed

  const since = (cause) => {
    if (cause !== "prices") return document.createTextNode(clock(answered));
    return document.querySelector("#live time")?.cloneNode(true) ?? document.createTextNode("");
  };

  function show() {
    const isOld = document.querySelector("#live .live[data-state=stale] time") !== null;
    const cause = isSignedOut ? "signed-out" : failing.size ? "silent" : isOld ? "prices" : "";
    document.getElementById("main").toggleAttribute("data-stopped", cause !== "");
    if ((sign.dataset.cause ?? "") === cause) return;
    for (const why of sign.querySelectorAll("[data-why]")) {
      why.hidden = why.dataset.why !== cause;
      if (!why.hidden) why.querySelector("[data-since]").replaceChildren(since(cause));
    }
    if (cause) sign.dataset.cause = cause;
    else {
      delete sign.dataset.cause;
      const said = document.getElementById("said");
      said.textContent = said.dataset.liveAgain;
    }
  }

  const toSignIn = sign.querySelector("[data-sign-in]");
  toSignIn.search = `?next=${encodeURIComponent(location.pathname + location.search)}`;

  // A part that is exchanged whole is gone after its answer, so answers are read before the exchange.
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { target, xhr, isError } = event.detail;
    if (!isPoll(target)) return;
    isSignedOut = !isError && new URL(xhr.responseURL || location.href).pathname.startsWith("/accounts/login/");
    if (isError) failing.add(target.id);
    else failing.delete(target.id);
    if (isError || isSignedOut) show();
    else answered = new Date();
  });
  for (const trouble of ["htmx:sendError", "htmx:timeout"]) {
    document.addEventListener(trouble, (event) => {
      if (!isPoll(event.detail.elt)) return;
      failing.add(event.detail.elt.id);
      show();
    });
  }
  document.addEventListener("htmx:afterSettle", show);
  setInterval(() => {
    if (Date.now() - answered < SILENT_AFTER || isSignedOut || document.hidden) return;
    failing.add("live");
    show();
  }, 1000);
  show();
}
