// What pages gain when scripts run: local times, a menu that closes, the colour choice, and words for trouble.
// Every page works without this file.

const local = new Intl.DateTimeFormat(document.documentElement.lang || "en", {
  dateStyle: "medium", timeStyle: "long",
});

// --- Times: the page says UTC, hovering or focusing says what the clock on the wall says ---------------

function tellLocalTime(event) {
  const place = event.target.closest?.("time[datetime], a, button, summary, td, th, [tabindex]");
  const times = place?.matches("time") ? [place] : place?.querySelectorAll("time[datetime*='T']") ?? [];
  for (const time of times) {
    if (!time.title && time.dateTime.includes("T")) {
      time.title = `Your time: ${local.format(new Date(time.dateTime))}`;
    }
  }
}
document.addEventListener("pointerover", tellLocalTime);
document.addEventListener("focusin", tellLocalTime);

// --- Time that is left counts on between two pages, by the server's clock; it is never read out by itself -----------

let ahead = 0; // milliseconds by which the server's clock is ahead of this one
const heard = new WeakSet();

function span(seconds) {
  const minutes = Math.floor(seconds / 60);
  if (seconds <= 0) return "0\u00a0min";
  if (minutes < 1) return "under 1\u00a0min";
  const hours = Math.floor(minutes / 60);
  if (hours >= 48) return `${Math.floor(hours / 24)}\u00a0d ${hours % 24}\u00a0h`;
  return hours ? `${hours}\u00a0h ${minutes % 60}\u00a0min` : `${minutes}\u00a0min`;
}

function countOn() {
  for (const place of document.querySelectorAll("time[data-left]")) {
    const until = Date.parse(place.dateTime);
    if (!heard.has(place)) { // what is new on the page says what the server's clock showed when it was written
      heard.add(place);
      ahead = until - 1000 * Number(place.dataset.left) - Date.now();
    }
    const text = span((until - Date.now() - ahead) / 1000);
    if (place.textContent !== text) place.textContent = text;
  }
}
countOn();
setInterval(countOn, 5000);
document.addEventListener("htmx:afterSwap", countOn);
document.addEventListener("visibilitychange", countOn);
// Every answer has the server's time, so a clock that was set or a computer that slept is put right within seconds.
document.addEventListener("htmx:afterRequest", (event) => {
  const told = Date.parse(event.detail.xhr?.getResponseHeader("Date") ?? "");
  if (Number.isNaN(told)) return;
  if (Math.abs(told - Date.now() - ahead) > 2000) ahead = told - Date.now();
  countOn();
});

// --- The user menu closes when you look elsewhere ---------------------------------------------------------

document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});
document.addEventListener("keydown", (event) => {
  const menu = event.key === "Escape" && document.querySelector("details.menu[open]");
  if (!menu) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});

// --- Colours: a cookie, so that the server sends the right page and nothing flashes -------------------------

const year = 365 * 24 * 3600;

function showTheme(choice) {
  const theme = document.documentElement.dataset.theme ?? "";
  for (const button of choice.querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button.value === theme));
  }
}

for (const choice of document.querySelectorAll("[data-theme-choice]")) {
  choice.addEventListener("submit", (event) => {
    const button = event.submitter;
    if (!button) return;
    event.preventDefault();
    if (button.value) document.documentElement.dataset.theme = button.value;
    else delete document.documentElement.dataset.theme;
    document.cookie = `theme=${button.value}; path=/; max-age=${button.value ? year : 0}; samesite=lax`;
    showTheme(choice);
  });
}

// --- A change of band is said at once; other live figures wait their turn in their polite region ------------

let bandsBefore = new Map();

function bands() {
  const found = new Map();
  for (const place of document.querySelectorAll("[data-watch]")) {
    found.set(place.dataset.watch, place.dataset.band);
  }
  return found;
}

document.addEventListener("htmx:beforeSwap", () => { bandsBefore = bands(); });
document.addEventListener("htmx:afterSwap", () => {
  const changed = [];
  for (const [name, band] of bands()) {
    const before = bandsBefore.get(name);
    if (before && before !== band) changed.push(`${name} is now in ${band === "LIQ" ? "LIQUIDATION" : band}.`);
  }
  if (changed.length) document.getElementById("said").textContent = changed.join(" ");
});

// --- Sliders: another hand on the field beside them, which is what is sent ---------------------------------

for (const slide of document.querySelectorAll("[data-slides]")) {
  const field = document.getElementById(slide.dataset.slides);
  slide.hidden = false;
  slide.addEventListener("input", () => { field.value = slide.value; });
  field.addEventListener("input", () => { slide.value = field.value || 0; });
}

// --- Trouble ------------------------------------------------------------------------------------------------

function clock() {
  return `${new Date().toISOString().slice(11, 19)} UTC`;
}

function priceDotStops() {
  const dot = document.querySelector("#live .live");
  if (!dot || dot.dataset.state === "stale") return;
  dot.dataset.state = "stale";
  dot.textContent = `No connection since ${clock()}`;
}

// Figures that renew themselves have a sign of their own where they stand (live.js).
function isTold(place) {
  return document.getElementById("stopped") && place?.getAttribute?.("hx-trigger")?.startsWith("every");
}

function say(text) {
  const region = document.getElementById("messages");
  const notice = document.createElement("div");
  notice.className = "notice";
  notice.setAttribute("role", "alert");
  const words = document.createElement("p");
  words.textContent = text;
  notice.append(words);
  region.replaceChildren(notice);
}

// Signed out meanwhile: what comes back is the sign-in page, which does not belong inside this one.
document.addEventListener("htmx:beforeSwap", (event) => {
  const came = new URL(event.detail.xhr.responseURL || location.href);
  if (!came.pathname.startsWith("/accounts/login/") || location.pathname.startsWith("/accounts/")) return;
  event.detail.shouldSwap = false;
  if (!isTold(event.detail.target)) location.reload();
});
document.addEventListener("htmx:sendError", (event) => {
  if (event.detail.elt?.id === "live") priceDotStops();
  else if (!isTold(event.detail.elt)) say(`No answer at ${clock()}. Reload the page to see whether it was done.`);
});
document.addEventListener("htmx:responseError", (event) => {
  if (event.detail.elt?.id === "live") priceDotStops();
  else if (!isTold(event.detail.elt)) say(`The server answered ${event.detail.xhr.status} at ${clock()}. Reload the page to see what was done.`);
});
